"""The operators' commands: their help ends with exit statuses and examples, as they are written."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """``epilog`` is shown below the options, line by line."""

    epilog = ""
    requires_system_checks = []

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        """Keep the epilog's lines."""
        return super().create_parser(*args, epilog=self.epilog, formatter_class=RawDescriptionHelpFormatter, **kwargs)
