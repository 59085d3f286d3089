"""A running program watched: what a model costs, operation by operation, and where a NaN comes from."""

from nbdl.profiling.anomaly import detect_anomaly
from nbdl.profiling.profiler import profile
from nbdl.profiling.recorder import Event
from nbdl.profiling.roofline import Roofline, measure_roofline
from nbdl.profiling.work import Work

__all__ = ["Event", "Roofline", "Work", "detect_anomaly", "measure_roofline", "profile"]
