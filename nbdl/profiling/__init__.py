"""What a model costs: operations counted, time and memory of every kernel measured, the limits of the machine."""

from nbdl.profiling.profiler import profile
from nbdl.profiling.recorder import Event
from nbdl.profiling.roofline import Roofline, measure_roofline
from nbdl.profiling.work import Work

__all__ = ["Event", "Roofline", "Work", "measure_roofline", "profile"]
