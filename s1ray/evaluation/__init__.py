"""Questions, engine and budgets to results and metrics."""
