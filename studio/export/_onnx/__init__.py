"""Writes a program as QDQ ONNX. Imports onnx."""
