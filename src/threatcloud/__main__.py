"""``python -m threatcloud`` is the ``threat-cloud`` command."""

from threatcloud.cli import main

if __name__ == "__main__":
    main()
