import threading
import time

import pytest

from ragtune_lib.llm.calls import Call, parse_spec, prompt
from ragtune_lib.llm.cost import FREE, PRICES, Meter, Price, forecast, price_of, rates, reasons
from ragtune_lib.llm.reply_cache import Usage

NONE = Usage(0, 0, 0, 0, 0)
GO = threading.Event()


def calls(count, length=400, max_tokens=100):
    return [Call(f"i{number}", prompt("x" * length), max_tokens) for number in range(count)]


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("openai:big: {input: 2, output: 8, batch: 0.5}\nhttp://h/v1:mine: {input: 0, output: 0}\n")
    return file


def test_a_price_is_found_by_the_spec(table):
    assert price_of(parse_spec("openai:big"), table) == Price(2.0, 8.0, 0.5)
    assert price_of(parse_spec("openai:big-2026-01-31"), table) == Price(2.0, 8.0, 0.5)
    assert price_of(parse_spec("http://h/v1:mine"), table) == Price(0.0, 0.0)


def test_what_is_not_in_the_table_has_no_known_price_and_what_runs_here_costs_nothing(table, tmp_path):
    for spec in ("openai:bigger", "http://other/v1:mine", "http://h/v1:big"):
        assert price_of(parse_spec(spec), table) is None
    assert price_of(parse_spec("openai:big"), tmp_path / "missing.yaml") is None
    assert price_of(parse_spec("embedded"), table) == FREE


@pytest.mark.parametrize("row", ["5", "{input: 1}", "{input: 1, output: much}", "{input: -1, output: 1}", "{in: 1}"])
def test_a_malformed_price_is_named(tmp_path, row):
    file = tmp_path / "prices.yaml"
    file.write_text(f"openai:big: {row}\n")
    with pytest.raises(ValueError, match=r"prices\.yaml, openai:big"):
        price_of(parse_spec("openai:big"), file)


def test_the_table_of_the_project_can_be_read():
    import yaml

    rows = yaml.safe_load(PRICES.read_text())
    assert rows
    assert all(price_of(parse_spec(name)).output > 0 for name in rows)


def test_a_forecast_by_hand():
    spec, price = parse_spec("openai:big"), Price(2.0, 8.0, 0.5)
    found = forecast(spec, [(call, number < 4) for number, call in enumerate(calls(10))], NONE, price)
    assert (found.calls, found.cached, found.due) == (10, 4, 6)
    assert found.prompt_tokens == 6 * (400 / 4 + 4)
    assert found.output_tokens == found.most_tokens == 6 * 100
    assert found.money == found.most_money == pytest.approx((624 * 2 + 600 * 8) / 1e6)
    assert "6 calls to make (4 of 10 are kept)" in str(found) and "$0.006" in str(found)
    assert "as a batch $0.003" in str(found) and "4 characters a token" in str(found)


def test_a_forecast_learns_from_kept_replies():
    usage = Usage(replies=50, characters=30_000, max_tokens=5_000, prompt_tokens=10_000, output_tokens=1_000)
    found = forecast(parse_spec("openai:big"), [(call, False) for call in calls(10)], usage, Price(2.0, 8.0))
    assert found.prompt_tokens == round(10 * (400 / 3 + 4))  # three characters a token
    assert (found.output_tokens, found.most_tokens) == (200, 1000)  # a fifth of what is allowed
    assert found.money < found.most_money and "calibrated on 50 replies" in str(found)
    few = Usage(19, 30_000, 5_000, 10_000, 1_000)
    assert rates(few).replies == 0 and rates(few).share == 1.0
    assert rates(Usage(50, 0, 0, 0, 0)).replies == 0


def test_an_unknown_price_is_said_and_is_not_zero():
    found = forecast(parse_spec("http://h/v1:m"), [(call, False) for call in calls(3)], NONE, None)
    assert found.money is None and found.most_money is None
    assert "price unknown" in str(found) and "$" not in str(found)


def test_nothing_to_do_costs_nothing():
    found = forecast(parse_spec("openai:big"), [(call, True) for call in calls(3)], NONE, Price(2.0, 8.0, 0.5))
    assert (found.due, found.money) == (0, 0.0)
    assert "0 calls to make" in str(found) and "about $0 (at most $0);" in str(found)


def test_the_meter_adds_up():
    meter = Meter(Price(2.0, 8.0))
    meter.settle(0.0, 1, 1_000_000, 500_000)
    meter.settle(0.0, 2, 0, 0)
    meter.settle(0.0, 1, 1_000_000, 0, share=0.5)
    assert (meter.requests, meter.prompt_tokens, meter.output_tokens) == (4, 2_000_000, 500_000)
    assert meter.money == 7.0
    assert meter.spent() == "4 requests, 2.5M tokens, $7.00"
    before = meter.counts()
    meter.settle(0.0, 1, 500, 0)
    assert meter.spent(before) == "1 requests, 500 tokens, $0.001"
    assert Meter(None).spent() == "0 requests, 0 tokens, price unknown"


def test_a_budget_waits_for_what_comes_back_before_it_is_reached():
    meter = Meter(Price(1.0, 1.0), budget=10.0)
    assert meter.set_aside(8.0, GO)
    found = []
    thread = threading.Thread(target=lambda: found.append(meter.set_aside(8.0, GO)))
    thread.start()
    time.sleep(0.05)
    assert not found  # there may be room once the first has come back
    meter.settle(8.0, 1, 1_000_000, 0)  # it took one dollar
    thread.join()
    assert found == [True] and not meter.reached
    meter.settle(8.0, 1, 9_000_000, 0)
    assert meter.money == 10.0
    assert not meter.set_aside(0.01, GO) and meter.reached
    assert not meter.set_aside(0.0001, GO)


def test_a_stop_ends_the_waiting_for_money():
    stop, meter = threading.Event(), Meter(Price(1.0, 1.0), budget=10.0)
    meter.set_aside(8.0, stop)
    stop.set()
    assert not meter.set_aside(8.0, stop) and not meter.reached


def test_a_budget_of_nothing_allows_what_is_free():
    assert Meter(FREE, budget=0.0).set_aside(0.0, GO)
    assert not Meter(Price(1.0, 1.0), budget=0.0).set_aside(1e-9, GO)
    with pytest.raises(ValueError, match="price"):
        Meter(None, budget=0.0)


def test_many_threads_never_overdraw():
    meter, taken = Meter(Price(1.0, 0.0), budget=100.0), []

    def spend():
        while meter.set_aside(3.0, GO):
            time.sleep(0.0001)
            meter.settle(3.0, 1, 1_000_000, 0)
            taken.append(1)

    threads = [threading.Thread(target=spend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.money == len(taken)
    assert 98 <= meter.money <= 100


def test_reasons_are_counted_the_most_frequent_first():
    assert reasons({"a": 1, "c": 2000, "b": 2000}) == "2,000 b, 2,000 c, 1 a"
