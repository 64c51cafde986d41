"""What commands import: done once by the process that they are forks of. See tests/forked.py."""

from pipelines.process import single_threaded

single_threaded()  # before NumPy comes

# ruff: noqa: E402, F401
import httpx
import pyarrow.dataset
import scipy.signal
import sklearn.linear_model
import torch

import pipelines.campaigns.asked
import pipelines.catalog
import pipelines.diary
import pipelines.engines.local
import pipelines.heads.train
import pipelines.queue.queue
import pipelines.relabel
import pipelines.release.build
import pipelines.report.report
import pipelines.run
import pipelines.votes.agreement
import pipelines.votes.consensus
