"""`msdk-rt serve`: models behind HTTP. One process answers, another one holds the models and segments."""
