"""From plan to program, cost, measurement and export."""
