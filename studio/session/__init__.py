"""The one mutable object: model, data, plan with its history, results, jobs. Screen-free."""

from studio.session.opening import open_session
from studio.session.session import Session

__all__ = ["Session", "open_session"]
