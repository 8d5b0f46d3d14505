"""What tests of verbs may ask for."""

from tests.brief import brief_reports, no_reports

__all__ = ["brief_reports", "no_reports"]
