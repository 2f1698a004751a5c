"""Submit a command to a cluster: checked, staged from git, named, followed; twice is once.

Examples:
    python -m jobs.submit --dry -- python -m jobs.train experiment=s1_32b paths.storage=/shared/runs
    python -m jobs.submit target=kuberay --dry

Output:
    What follows ``--`` runs there, and its log here. ``--dry`` sends nothing, ``--stop`` stops what
    the same command submitted, with a checkpoint.
"""

import sys
from functools import partial

from s1ray.config.submit import SubmitConfig
from s1ray.orchestration.launch import launch
from s1ray.orchestration.submission.command import FLAGS, split_arguments
from s1ray.orchestration.submission.submit import prepare_submit, run_submit

if __name__ == "__main__":
    sys.argv, words = split_arguments(sys.argv)
    launch(
        doc=__doc__ or "",
        primary="submit",
        schema=SubmitConfig,
        prepare=partial(prepare_submit, words=words),
        run=run_submit,
        flags=FLAGS,
    )
