"""All datasets that land, in the order in which their tables are made."""

from scripts.land.rules import LOGS
from scripts.land.sync import SYNC

DATASETS = (*LOGS, *SYNC)
