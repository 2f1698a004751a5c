"""Build the self-contained HTML page of finished runs, with its figures as PNG, PDF and CSV.

Examples:
    python -m jobs.report runs=[runs/latest]
    python -m jobs.report runs=[runs/reproduce/A,runs/reproduce/B] output=report.html

Output:
    One HTML page that needs no network (report.html in the first run, where output= names no
    other), and beside it every figure as PNG, PDF and CSV.
"""

from s1ray.config.report import ReportJobConfig
from s1ray.orchestration.launch import launch
from s1ray.orchestration.report import prepare_report, run_report

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="report",
        schema=ReportJobConfig,
        prepare=prepare_report,
        run=run_report,
    )
