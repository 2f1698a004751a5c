"""The Ray that a job runs on, and who may command it."""
