"""The one error of the packer: what is wrong, and what to do about it. It ends the run with that text."""


class Refusal(Exception):
    """Something that the packer does not accept."""
