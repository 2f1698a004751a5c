"""Serve a model to any OpenAI client, with thinking budgets, until it is interrupted.

Examples:
    python -m jobs.serve experiment=demo target=base

Output:
    An HTTP server, on loopback unless server= says otherwise; its address is printed when it
    answers.
"""

from s1ray.config.recipe import Recipe
from s1ray.orchestration.chat_server.endpoint import run_server
from s1ray.orchestration.chat_server.plan import prepare_server
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "", primary="recipe", schema=Recipe, prepare=prepare_server, run=run_server
    )
