"""Build the self-contained HTML page of finished runs, with its figures as PNG, PDF and CSV.

python -m jobs.report runs=[runs/latest]
"""

from s1ray.config.report import ReportJobConfig
from s1ray.orchestration.launch import launch
from s1ray.orchestration.reproduce import prepare_report, run_report

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="report",
        schema=ReportJobConfig,
        prepare=prepare_report,
        run=run_report,
    )
