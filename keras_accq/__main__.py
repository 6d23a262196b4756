"""`python -m keras_accq`: the `accq` command where no script of that name is on PATH."""

from keras_accq.cli.main import run

if __name__ == "__main__":
    run()
