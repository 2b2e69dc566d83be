"""What a call costs. List prices in US dollars per million tokens; a class's own price table goes before them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens. Thinking tokens count as output. Above `long_from` prompt tokens the long rates."""

    prompt: Decimal = Decimal(0)
    completion: Decimal = Decimal(0)
    long_from: int = 0
    long_prompt: Decimal = Decimal(0)
    long_completion: Decimal = Decimal(0)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """US dollars for one call."""
        is_long = 0 < self.long_from < prompt_tokens
        prompt, completion = (self.long_prompt, self.long_completion) if is_long else (self.prompt, self.completion)
        return (prompt * prompt_tokens + completion * completion_tokens) / _MILLION


PRICES: Mapping[str, Price] = {
    # https://ai.google.dev/gemini-api/docs/pricing, standard tier
    "gemini-2.5-pro": Price(Decimal("1.25"), Decimal("10"), 200_000, Decimal("2.50"), Decimal("15")),
    "gemini-2.5-flash": Price(Decimal("0.30"), Decimal("2.50")),
    "gemini-2.5-flash-lite": Price(Decimal("0.10"), Decimal("0.40")),
}


def price_of(model: str, table: Mapping[str, Price] | None = None) -> Price:
    """The price of a model: from `table`, else the list above, else nothing (a model of one's own)."""
    for prices in (table or {}, PRICES):
        if model in prices:
            return prices[model]
    return Price()
