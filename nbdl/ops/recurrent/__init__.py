"""Recurrent layers: simple, long short-term memory, gated recurrent units; whole sequences, or one step."""

from nbdl.ops.recurrent.gru import gru, gru_cell
from nbdl.ops.recurrent.lstm import lstm, lstm_cell
from nbdl.ops.recurrent.rnn import rnn_relu, rnn_relu_cell, rnn_tanh, rnn_tanh_cell

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]
