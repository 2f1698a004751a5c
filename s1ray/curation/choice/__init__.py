"""Which of the screened questions are trained on."""
