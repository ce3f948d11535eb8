"""Analysis: samples in, figures and words out. Pure; reads no file, no clock and no network."""

from bench.analysis.answer import explain
from bench.analysis.claims import judge_claims
from bench.analysis.fits import RttFit, rtt_fits
from bench.analysis.frame import ANALYSED, Frame, Tabular, sample_frame
from bench.analysis.judgement import exit_code
from bench.analysis.knees import Knee, knees
from bench.analysis.summary import counted, distribution, summarize

__all__ = [
    "ANALYSED",
    "Frame",
    "Knee",
    "RttFit",
    "Tabular",
    "counted",
    "distribution",
    "exit_code",
    "explain",
    "judge_claims",
    "knees",
    "rtt_fits",
    "sample_frame",
    "summarize",
]
