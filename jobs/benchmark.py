"""Measure one side against another on this machine; the last line is one JSON object.

Examples:
    python -m jobs.benchmark suite=machine
    python -m jobs.benchmark suite=machine parts=[products]

Output:
    A line for each part; the last line on standard output is one JSON object with the numbers,
    the machine and the date, also in <storage>/benchmark/<suite>-<hash>/result.json.
"""

from s1ray.config.suites.job import BenchmarkJobConfig
from s1ray.orchestration.launch import launch
from s1ray.suites.benchmark import prepare_benchmark, run_benchmark

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="suites",
        schema=BenchmarkJobConfig,
        prepare=prepare_benchmark,
        run=run_benchmark,
    )
