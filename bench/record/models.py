# SPDX-License-Identifier: Apache-2.0
#
# Models to record: a dense decoder of the Llama family in eager PyTorch, as the common runtimes
# write it (RMS norm in float32, rotary embedding, grouped-query attention, gated MLP), with the
# true shapes of released models. The KV cache grows by torch.cat, or lives in pages of 16 tokens.
# The arithmetic is the real one, so tests can run a tiny model on real tensors too.

import dataclasses
import math

import torch
from torch import nn

from recorder import tag

PAGE_TOKENS = 16
ROTARY_BASE = 500000.0


@dataclasses.dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    kv_heads: int
    ff_width: int
    vocabulary: int
    dtype: torch.dtype = torch.bfloat16

    @property
    def head_width(self):
        return self.width // self.heads


SHAPES = {
    "llama-8b": Shape(32, 4096, 32, 8, 14336, 128256),  # Llama-3-8B
    "llama-1b": Shape(16, 2048, 32, 8, 8192, 128256),   # Llama-3.2-1B, head untied
    "tiny": Shape(2, 64, 4, 2, 128, 256),
}


class RmsNorm(nn.Module):
    def __init__(self, width, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=dtype))

    def forward(self, x):
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return self.weight * wide.to(x.dtype)


class CatCache:
    """One layer's keys and values, copied into larger tensors at every step."""

    def __init__(self, name):
        self._name, self._k, self._v = name, None, None

    def append(self, k, v):
        """k, v: [batch, kv heads, tokens, head width]; returns all of them so far."""
        with tag("kv_cache", self._name + ".k"):
            self._k = k.contiguous() if self._k is None else torch.cat([self._k, k], dim=2)
        with tag("kv_cache", self._name + ".v"):
            self._v = v.contiguous() if self._v is None else torch.cat([self._v, v], dim=2)
        return self._k, self._v


class PagedCache:
    """One layer's keys and values in pages of 16 tokens, [2, kv heads, 16, head width] each;
    attention gathers the pages into temporary tensors, as eager paged attention does."""

    def __init__(self, name):
        self._name, self._pages, self._tokens = name, [], 0

    def append(self, k, v):
        if k.shape[0] != 1:
            raise ValueError("pages belong to one sequence: batch has to be 1")
        taken = 0
        while taken < k.shape[2]:
            at = self._tokens % PAGE_TOKENS
            if at == 0:
                with tag("kv_cache", f"{self._name}.page{len(self._pages)}"):
                    self._pages.append(torch.empty(2, k.shape[1], PAGE_TOKENS, k.shape[3],
                                                   dtype=k.dtype))
            count = min(PAGE_TOKENS - at, k.shape[2] - taken)
            page = self._pages[-1]
            page[0, :, at:at + count].copy_(k[0, :, taken:taken + count])
            page[1, :, at:at + count].copy_(v[0, :, taken:taken + count])
            taken += count
            self._tokens += count
        both = torch.cat(self._pages, dim=2)[:, :, :self._tokens]
        return both[0].unsqueeze(0), both[1].unsqueeze(0)


CACHES = {"cat": CatCache, "paged": PagedCache}


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_width

        def linear(inputs, outputs):
            return nn.Linear(inputs, outputs, bias=False, dtype=shape.dtype)

        self.q_proj = linear(shape.width, shape.width)
        self.k_proj = linear(shape.width, kv_width)
        self.v_proj = linear(shape.width, kv_width)
        self.o_proj = linear(shape.width, shape.width)

    @staticmethod
    def _rotate(x, cos, sin):
        half = x.shape[-1] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
        return x * cos + turned * sin

    def forward(self, x, cos, sin, mask, cache):
        shape, (batch, tokens, _) = self.shape, x.shape

        def heads(y, count):
            return y.view(batch, tokens, count, shape.head_width).transpose(1, 2)

        q = self._rotate(heads(self.q_proj(x), shape.heads), cos, sin)
        k = self._rotate(heads(self.k_proj(x), shape.kv_heads), cos, sin)
        k, v = cache.append(k, heads(self.v_proj(x), shape.kv_heads))
        group = shape.heads // shape.kv_heads

        def repeated(y):
            wide = y[:, :, None].expand(batch, shape.kv_heads, group, y.shape[2], y.shape[3])
            return wide.reshape(batch, shape.heads, y.shape[2], y.shape[3])

        k, v = repeated(k), repeated(v)
        scores = torch.matmul(q, k.transpose(2, 3)) * shape.head_width ** -0.5
        if mask is not None:
            scores = scores + mask
        scores = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        mixed = torch.matmul(scores, v).transpose(1, 2).reshape(batch, tokens, shape.width)
        return self.o_proj(mixed)


class Mlp(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.ff_width, bias=False, dtype=shape.dtype)
        self.up_proj = nn.Linear(shape.width, shape.ff_width, bias=False, dtype=shape.dtype)
        self.down_proj = nn.Linear(shape.ff_width, shape.width, bias=False, dtype=shape.dtype)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_norm = RmsNorm(shape.width, shape.dtype)
        self.attention = Attention(shape)
        self.post_norm = RmsNorm(shape.width, shape.dtype)
        self.mlp = Mlp(shape)

    def forward(self, x, cos, sin, mask, cache):
        x = x + self.attention(self.input_norm(x), cos, sin, mask, cache)
        return x + self.mlp(self.post_norm(x))


class Decoder(nn.Module):
    def __init__(self, shape, kv="cat"):
        super().__init__()
        self.shape, self._kv = shape, kv
        self.embed = nn.Embedding(shape.vocabulary, shape.width, dtype=shape.dtype)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.width, shape.dtype)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False, dtype=shape.dtype)

    def make_caches(self):
        return [CACHES[self._kv](f"layers.{i}.kv") for i in range(self.shape.layers)]

    def forward(self, tokens, start, caches):
        """tokens: [batch, n], the first of them at position `start`. Returns the next token of each
        row, [batch, 1]."""
        shape, count = self.shape, tokens.shape[1]
        x = self.embed(tokens)
        half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.outer(torch.arange(start, start + count, dtype=torch.float32),
                             torch.exp(half * -math.log(ROTARY_BASE)))
        angles = torch.cat([angles, angles], dim=-1)
        cos, sin = angles.cos().to(shape.dtype), angles.sin().to(shape.dtype)
        mask = None
        if count > 1:
            mask = torch.full((count, start + count), float("-inf"), dtype=shape.dtype)
            mask = torch.triu(mask, diagonal=start + 1)
        for layer, cache in zip(self.layers, caches):
            x = layer(x, cos, sin, mask, cache)
        # A runtime needs the last token's logits only.
        logits = self.head(self.norm(x[:, -1:]))
        return torch.argmax(logits, dim=-1)
