"""The training set as a job: chosen from pools, judged by models, written by a teacher."""
