"""All datasets that land, in the order in which their tables are made."""

from scripts.land.pipelines import PIPELINE_CALLS
from scripts.land.rules import LOGS
from scripts.land.sync import SYNC

DATASETS = (*LOGS, PIPELINE_CALLS, *SYNC)
