"""Payloads, names, and what a packet is."""

import json
import time
import types
import unittest

import support  # noqa: F401
from orchestrator_client import CallError
from orchestrator_client.packets import Guard, Refused, Seal, split
from orchestrator_client.serving import methods_of
from orchestrator_client.values import (
    check_pattern,
    check_service,
    covers,
    decode,
    encode,
    frame,
    milliseconds,
    parse_line,
    takes,
)

SESSION = "0123456789abcdef" * 2


class Payloads(unittest.TestCase):
    def test_what_goes_out_comes_in(self):
        plain = {"$bytes": "plain", "value": {"$bytes": [0, 1]}}
        for value in [None, 1, "é\n", [], {"a": [1.5, None]}, b"", b"abc", [b"a", {"b": b"bc"}], plain, [plain, b"x"]]:
            with self.subTest(value=value):
                self.assertEqual(decode(*encode(value)), value)

    def test_bytes_are_behind_the_json(self):
        payload = encode({"a": bytearray(b"one"), "b": [memoryview(b"two")]})
        text = b'{"a":{"$bytes":[0,3]},"b":[{"$bytes":[3,3]}]}'
        self.assertEqual(payload, (text + b"onetwo", len(text)))

    def test_members_of_that_name_are_told_apart(self):
        data, length = encode([{"$bytes": 1}, b"x"])
        self.assertEqual(json.loads(data[:length])[0], {"$bytes": "plain", "value": {"$bytes": 1}})
        self.assertIsNone(encode([{"$bytes": 1}]).json)

    def test_what_cannot_be_sent_is_said(self):
        with self.assertRaisesRegex(TypeError, "set cannot be sent"):
            encode({1, 2})
        with self.assertRaises(ValueError):
            encode(float("nan"))
        with self.assertRaises(CallError) as caught:
            encode(b"x" * (16 << 20))
        self.assertEqual(caught.exception.code, "too-large")

    def test_what_is_no_payload_is_refused(self):
        for data, length in [(b"[", None), (b"[]", 3), (b"[]", -1), (b'{"$bytes":[0,2]}x', 16), (b'{"$bytes":7}x', 12)]:
            with self.subTest(data=data), self.assertRaises(ValueError):
                decode(data, length)

    def test_lengths_of_time(self):
        for given, expected in [(2, 2000), (0.5, 500), ("2s", 2000), ("1m30s", 90_000), ("15ms", 15), (0.0001, 1)]:
            self.assertEqual(milliseconds(given, "timeout"), expected)
        for given in [0, -1, True, "2", "s", None, float("nan"), float("inf")]:
            with self.subTest(given=given), self.assertRaisesRegex(ValueError, "timeout is a number of seconds"):
                milliseconds(given, "timeout")

    def test_names(self):
        for good in ["a", "web-2", "web/worker"]:
            self.assertEqual(check_service(good), good)
        for bad in ["", "Web", "2a", "a_b", "a/", "a-", "x" * 64, None]:
            with self.subTest(bad=bad), self.assertRaises(ValueError):
                check_service(bad)
        for bad in ["", "a.", ".a", "a b", "*.a", "a*", "a\n", "x" * 257]:
            with self.subTest(bad=bad), self.assertRaises(ValueError):
                check_pattern(bad, star=True)
        with self.assertRaises(ValueError):
            check_pattern("stock.*", star=False)

    def test_a_star_means_all_below(self):
        self.assertTrue(covers("*", "a.b") and covers("a.*", "a.b.c") and covers("a", "a"))
        self.assertFalse(covers("a.*", "a") or covers("a.*", "ab") or covers("a", "a.b"))

    def test_handlers_get_as_many_values_as_they_take(self):
        self.assertEqual([takes(one, 2) for one in (lambda: 0, lambda a: 0, lambda *a: 0, lambda a, b, c=1: 0)], [0, 1, 2, 2])


class Methods(unittest.TestCase):
    def test_of_a_dict(self):
        found = methods_of({"get": len, "admin": {"reset": len, "more": {"deep": len}}})
        self.assertEqual(sorted(found), ["admin.more.deep", "admin.reset", "get"])
        with self.assertRaisesRegex(ValueError, "'rate' is neither a function"):
            methods_of({"get": len, "rate": 3})
        with self.assertRaisesRegex(ValueError, "no method"):
            methods_of({})

    def test_of_an_object(self):
        class Base:
            def one(self):
                return 1

        class Shop(Base):
            def __init__(self):
                self.admin = types.SimpleNamespace(reset=lambda: "done")
                self.rate = 3

            @property
            def size(self):
                return 7

            def _hidden(self):
                pass

        found = methods_of(Shop())
        self.assertEqual(sorted(found), ["admin.reset", "one", "size"])
        self.assertEqual([found["one"](), found["size"](), found["admin.reset"]()], [1, 7, "done"])
        with self.assertRaisesRegex(ValueError, "Shop is a class: give an object of it"):
            methods_of(Shop)

    def test_of_a_module(self):
        module = types.ModuleType("shop")
        exec("import json\nfrom json import dumps\ndef get(): pass\ndef _no(): pass\nclass C: pass", module.__dict__)
        self.assertEqual(list(methods_of(module)), ["get"])
        module.__all__ = ["get", "dumps"]
        self.assertEqual(sorted(methods_of(module)), ["dumps", "get"])


class Packets(unittest.TestCase):
    def setUp(self):
        self.seal = Seal(b"k" * 32, "orchestrator", 0)
        self.guard = Guard()

    def packet(self, seq=1, channel="c", **message):
        return self.seal.pack(channel, SESSION, seq, [frame({"type": "beat", **message})])

    def refused(self, kind, action, *values):
        with self.assertRaises(Refused) as caught:
            action(*values)
        self.assertEqual(caught.exception.kind, kind)

    def test_the_tag_is_as_it_is_written(self):
        import hashlib
        import hmac

        packet = self.packet()
        key = hmac.new(b"k" * 32, b"orchestrator-fabric-1\norchestrator\n0", hashlib.sha256).digest()
        self.assertEqual(packet[:32], hmac.new(key, b"c\n" + packet[32:], hashlib.sha256).digest())

    def test_a_packet_is_opened(self):
        data = frame({"type": "call", "id": 1}, encode([b"x"])) + frame({"type": "beat"})
        header, messages = self.seal.open("c", self.seal.pack("c", SESSION, 4, [data]))
        self.assertEqual((header.session, header.seq), (SESSION, 4))
        (call, payload), (beat, nothing) = split(messages)
        self.assertEqual((call["type"], beat["type"], nothing), ("call", "beat", b""))
        self.assertEqual(decode(payload, call["json"]), [b"x"])

    def test_what_is_forged(self):
        packet = self.packet()
        self.refused("forged", self.seal.open, "other", packet)
        self.refused("forged", Seal(b"j" * 32, "orchestrator", 0).open, "c", packet)
        self.refused("forged", Seal(b"k" * 32, "orchestrator", 1).open, "c", packet)
        self.refused("forged", Seal(b"k" * 32, "other", 0).open, "c", packet)
        self.refused("forged", self.seal.open, "c", packet[:-2] + b"x\n")
        self.refused("malformed", self.seal.open, "c", b"short")

    def test_what_is_malformed(self):
        for body in [b"x", b"{}\n", b'{"v":2,"from":"%s","seq":1,"time":1}\n' % SESSION.encode(), b"[]\n"]:
            with self.subTest(body=body):
                self.refused("malformed", self.seal.open, "c", self.seal._tag("c", body) + body)
        for messages in [b"", b"{}\n", b'{"type":"a"}', b'{"type":"a","payload":9}\nshort', b'{"type":"a","payload":-1}\n']:
            with self.subTest(messages=messages):
                self.refused("malformed", split, messages)
        with self.assertRaises(ValueError):
            parse_line(b'{"type":1}')

    def test_what_is_replayed_or_stale(self):
        header, _ = self.seal.open("c", self.packet(seq=2))
        self.assertEqual(self.guard.admit("c", header), 1)
        self.refused("replayed", self.guard.admit, "c", header)
        self.refused("replayed", self.guard.admit, "c", header._replace(seq=1))
        self.assertEqual(self.guard.admit("other", header), 1)
        self.assertEqual(self.guard.admit("c", header._replace(seq=3)), 0)
        self.refused("stale", self.guard.admit, "c", header._replace(seq=4, time=time.time() - 61))
        self.refused("stale", self.guard.admit, "c", header._replace(seq=4, time=time.time() + 61))
        self.refused("stale", self.guard.admit, "c", header._replace(seq=4, time=float("nan")))
        self.guard.end(SESSION)
        self.refused("replayed", self.guard.admit, "c", header._replace(seq=4))


if __name__ == "__main__":
    unittest.main()
