"""What is open, with whom, until when, and whom to telephone about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.common.v1.options_pb2 import PURPOSE_CARE, ROLE_OPERATOR
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.contract.paging import page_size, position, token
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import owns
from xinqiao.disclosure.shares import NO_SHARE, ground_of_task
from xinqiao.store import refusals
from xinqiao.store.holdings import page
from xinqiao.store.sql import RowMapping


@dataclass(frozen=True)
class PhoneBook:
    """The district's telephones: a partner's own duty numbers, and the public ones; and the crisis channels in order."""

    own: tuple[tuple[str, types.Phone], ...] = ()
    public: tuple[types.Phone, ...] = ()
    channels: Sequence[str] = ()

    @property
    def emergency(self) -> list[types.Phone]:
        """The hospitals of the crisis lane in order, then the public numbers."""
        hospitals = [phone for channel in self.channels for partner, phone in self.own if partner == channel]
        return [*hospitals, *self.public]

    def of(self, row: RowMapping) -> list[types.Phone]:
        """Whom to telephone about a holding: its holder; at step ``phone`` the hospitals in order, then everybody."""
        if row["step"] != "phone":
            found = [phone for partner, phone in self.own if partner == row["holder"]]
            return found or (list(self.public) if row["escalations"] > 1 else [])
        return self.emergency


def list_holdings(request: rpc.ListHoldingsRequest, call: Call, phones: PhoneBook) -> rpc.ListHoldingsResponse:
    """Everything open that the caller may watch, by deadline."""
    size = page_size(request.page_size)
    everything = ROLE_OPERATOR in call.caller.roles
    rows = page(
        call.reading,
        schools=None if everything else call.caller.schools,
        holders=None if everything else [call.caller.id, call.caller.agency],
        after=position(request.page_token),
        limit=size + 1,
    )
    response = rpc.ListHoldingsResponse(time_us=call.reading.now_us)
    for row in rows[:size]:
        holding = types.Holding(
            item=row["item"], kind=row["kind"], holder=row["holder"], deadline_us=row["deadline_us"],
            step=row["step"], tier=row["tier"], escalations=row["escalations"], opened_us=row["opened_us"],
            phones=phones.of(row),
        )  # fmt: skip
        if row["kind"] == "intake":
            holding.refused_count, refused = refusals.of(call.reading, str(row["item"]))
            holding.refused.extend(refused)
        if row["student"]:
            _show(call, holding, row, everything=everything)
        if holding.item:
            response.holdings.append(holding)
    if len(rows) > size:
        response.next_page_token = token(int(rows[size - 1]["deadline_us"]), str(rows[size - 1]["item"]))
    return response


def _show(call: Call, holding: types.Holding, row: RowMapping, *, everything: bool) -> None:
    """Cut a holding down to what the caller may see: a care team's task by the membership alone, a letter as its
    worker's; of what may not be known at all nothing is left."""
    student, own = str(row["student"]), owns(call.caller, str(row["school"]))
    if row["kind"] == "task" and not own and not everything:
        ground = ground_of_task(call.reading, str(row["item"])) or NO_SHARE
        call.view(holding, student=student, relation="PARTY", purpose=PURPOSE_CARE, basis=ground)
    elif row["kind"] == "letter" and not own and not everything:
        call.view(holding, student=student, relation="PARTY", purpose=PURPOSE_CARE)
    else:
        call.view(holding, student=student, relation="OWN" if own else "PARTY")
