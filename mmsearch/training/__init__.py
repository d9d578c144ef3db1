"""Adapting a library's model to what is in it: contrastive training over vectors that are there already.

pairs.py      what belongs together: pairs from a file, from a folder, from the library (own.py, judged.py)
gather.py     pairs as vectors: those that the library holds, or encoded once and kept
split.py      what is learned from, what training is stopped by, and what the result is measured on
loss.py       symmetric InfoNCE and the sigmoid loss, with what is no negative masked
fit.py        the adapter: x becomes norm(x + a W x), W beginning at zero
trial.py      recall before and after, with intervals; general questions before and after
run.py        all of it, in order, and the new generation;  report.py: what there is to say of it;  plot.py: the loss
adapted.py    a model whose vectors go through a library's adapter
lora.py       fine-tuning a tower itself, on several processes too;  gathered.py: negatives from all of them
"""
