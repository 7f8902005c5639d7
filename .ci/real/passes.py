"""The passes of godvision-access against other implementations: `cbor2` writes the claims, `pycose` signs and verifies
COSE_Sign1, `cwt` reads the CWT, `base45` the text, and Python's `hmac` the rolling codes.

    passes.py vectors            prints godvision-access/tests/vectors/passes.txt
    passes.py check MAKE_PASS    makes and verifies passes in both directions

Nothing of our own is used to write a pass here, so the vectors are the format's and not the program's.
"""

import datetime
import hashlib
import hmac
import pathlib
import random
import subprocess
import sys

import base45
import cbor2
import cwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pycose.algorithms import EdDSA
from pycose.headers import Algorithm, KID
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import Sign1Message

VECTORS = pathlib.Path(__file__).parents[2] / "godvision-access/tests/vectors/passes.txt"
SEED = hashlib.sha256(b"godvision demo pass key: opens nothing real").digest()
SUB, AUD, EXP, NBF, CTI, DOORS, USES = 2, 3, 4, 5, 7, -65537, -65538
STEP_S = 30


def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def cose_key(seed):
    return OKPKey(crv=Ed25519, d=seed, x=public(seed))


def claims_of(**some):
    claims = {SUB: "ada", AUD: "demo", EXP: 4102444800, NBF: 1577836800, CTI: bytes([0, 0, 0, 0, 0, 1]), DOORS: "yard/door"}
    for name, value in some.items():
        claims[{"sub": SUB, "aud": AUD, "exp": EXP, "nbf": NBF, "cti": CTI, "doors": DOORS, "uses": USES}[name]] = value
    return {key: claims[key] for key in (SUB, AUD, EXP, NBF, CTI, DOORS, USES) if claims.get(key) is not None}


def text_of(message):
    return "GV2:" + base45.b45encode(message).decode()


def made(claims, seed=SEED, kid=0):
    """A pass by pycose."""
    message = Sign1Message(phdr={Algorithm: EdDSA, KID: bytes([kid])}, uhdr={}, payload=cbor2.dumps(claims, canonical=True))
    message.key = cose_key(seed)
    return text_of(message.encode())


def signed_by_hand(protected, payload, seed=SEED, unprotected=b"\xa0", start=b"\xd2\x84", end=b""):
    """A message whose signature is good, whatever its parts are."""
    structure = cbor2.dumps(["Signature1", protected, b"", payload])
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(structure)
    parts = cbor2.dumps(protected) + unprotected + cbor2.dumps(payload) + cbor2.dumps(signature)
    return text_of(start + parts + end)


def bad_ones():
    """Passes that are signed well and are none: what, why, text."""
    protected = cbor2.dumps({1: -8, 4: b"\0"}, canonical=True)
    good = cbor2.dumps(claims_of(), canonical=True)
    order = list(claims_of().items())
    pairs = [cbor2.dumps(key) + cbor2.dumps(value) for key, value in order]
    swapped = bytes([0xA6]) + b"".join(pairs[1:2] + pairs[:1] + pairs[2:])
    yield "claims in another order", signed_by_hand(protected, swapped)
    yield "a claim twice", signed_by_hand(protected, bytes([0xA7]) + pairs[0] + b"".join(pairs))
    long_exp = cbor2.dumps(EXP) + b"\x1b\0\0\0\0" + (4102444800).to_bytes(4, "big")
    yield "a number longer than need be", signed_by_hand(protected, good.replace(pairs[2], long_exp))
    yield "a map of no stated length", signed_by_hand(protected, b"\xbf" + b"".join(pairs) + b"\xff")
    yield "a claim that is not ours", signed_by_hand(protected, cbor2.dumps({**claims_of(), 8: {}}, canonical=True))
    yield "issued-at, which we do not write", signed_by_hand(protected, cbor2.dumps({**claims_of(), 6: 1}, canonical=True))
    for missing, name in ((AUD, "site"), (EXP, "end"), (NBF, "beginning"), (CTI, "id"), (DOORS, "doors")):
        rest = {key: value for key, value in order if key != missing}
        yield f"no {name}", signed_by_hand(protected, cbor2.dumps(rest, canonical=True))
    for what, some in (
        ("a time with a fraction", {"exp": 4102444800.5}),
        ("a time before 1970", {"nbf": -1}),
        ("a time after 2106", {"exp": 1 << 32}),
        ("an end before the beginning", {"exp": 1577836800}),
        ("an id of seven bytes", {"cti": bytes(7)}),
        ("an id as text", {"cti": "abcdef"}),
        ("a person that is no name", {"sub": "a b"}),
        ("no use at all", {"uses": 0}),
        ("256 uses", {"uses": 256}),
        ("less than no use", {"uses": -1}),
        ("one door in a list", {"doors": ["yard/door"]}),
        ("nine doors", {"doors": [f"door-{number}" for number in range(9)]}),
        ("no doors in a list", {"doors": []}),
        ("any door in a list", {"doors": ["any", "yard/door"]}),
        ("a door that is a number", {"doors": 1}),
        ("a group without a name", {"doors": "group:"}),
    ):
        yield what, signed_by_hand(protected, cbor2.dumps(claims_of(**some), canonical=True))
    yield "another algorithm", signed_by_hand(cbor2.dumps({1: -7, 4: b"\0"}, canonical=True), good)
    yield "no algorithm", signed_by_hand(cbor2.dumps({4: b"\0"}, canonical=True), good)
    yield "a key id of two bytes", signed_by_hand(cbor2.dumps({1: -8, 4: b"\0\0"}, canonical=True), good)
    yield "a third header", signed_by_hand(cbor2.dumps({1: -8, 3: 60, 4: b"\0"}, canonical=True), good)
    yield "the key id outside the signature", signed_by_hand(cbor2.dumps({1: -8}), good, unprotected=b"\xa1\x04\x41\x00")
    yield "something unsigned", signed_by_hand(protected, good, unprotected=b"\xa1\x03\x18\x3c")
    yield "a CWT tag", signed_by_hand(protected, good, start=b"\xd8\x3d\xd2\x84")
    yield "no tag", signed_by_hand(protected, good, start=b"\x84")
    yield "the tag of COSE_Mac0", signed_by_hand(protected, good, start=b"\xd1\x84")
    yield "a byte too many", signed_by_hand(protected, good, end=b"\0")
    yield "a byte too few", text_of(base45.b45decode(made(claims_of())[4:])[:-1])
    yield "nothing", "GV2:"


def rolling(secret, site, person, seconds):
    step = seconds // STEP_S
    body = hashlib.sha256(b"godvision person\0" + person.encode()).digest()[:6] + step.to_bytes(4, "big")
    mac = hmac.new(secret, b"godvision rolling code 1\0" + site.encode() + b"\0" + body, hashlib.sha256).digest()
    return "GVR:" + base45.b45encode(body + mac[:16]).decode()


GOOD = (
    ("one door, any number of times", {}),
    ("one use", {"uses": 1}),
    ("255 uses", {"uses": 255}),
    ("whoever holds it", {"sub": None, "uses": 1}),
    ("a door group", {"doors": "group:yard"}),
    ("any door", {"doors": "any"}),
    ("two doors", {"doors": ["yard/gate", "yard/door"]}),
    ("eight doors", {"doors": [f"d{number}" for number in range(8)]}),
    ("the whole period there is", {"nbf": 0, "exp": (1 << 32) - 1}),
    ("names that are not Latin", {"sub": "анна", "aud": "дом", "doors": "двор/калитка"}),
    ("another id", {"cti": bytes.fromhex("0123456789ab"), "nbf": 1795255200, "exp": 1795258800}),
)


def vectors():
    print("# Passes and rolling codes, good and bad. Written by `.ci/real/passes.py vectors`, that is by pycose, cbor2, base45 and")
    print("# Python's hmac. The key is `PassKey::insecure_demo` unless another is named: it opens nothing real.")
    print("# A text stands in quotes, since a space may be its last character.")
    for what, some in GOOD:
        claims = claims_of(**some)
        doors = claims[DOORS] if isinstance(claims[DOORS], str) else ",".join(claims[DOORS])
        print(f"\ngood pass: {what}\nsite {claims[AUD]}\nid {claims[CTI].hex()}\nperson {claims.get(SUB, '-')}")
        print(f"doors {doors}\nfrom {claims[NBF]}\nuntil {claims[EXP]}\nuses {claims.get(USES, 0)}")
        print(f'text "{made(claims)}"')
    print(f'\nbad pass: another site\ndefect OtherSite\ntext "{made(claims_of(aud="office"))}"')
    print(f'\nbad pass: a key nobody knows\ndefect UnknownKey\ntext "{made(claims_of(), kid=7)}"')
    print(f'\nbad pass: the known key id, another key\ndefect BadSignature\ntext "{made(claims_of(), seed=bytes([9] * 32))}"')
    for what, text in bad_ones():
        print(f'\nbad pass: {what}\ndefect Damaged\ntext "{text}"')
    for person, seconds in (("ada", 1_795_255_200), ("ada", 1_795_255_230), ("анна", 0), ("bob", 30 * ((1 << 32) - 1))):
        secret = hashlib.sha256(b"vector " + person.encode()).digest()
        print(f"\nrolling code: {person} at {seconds}\nsite demo\nsecret {secret.hex()}\nperson {person}\nat {seconds}")
        print(f'text "{rolling(secret, "demo", person, seconds)}"')


class Ours:
    def __init__(self, program):
        self.program = program

    def run(self, *arguments, lines=None):
        done = subprocess.run([self.program, *arguments], input=lines, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"make_pass {arguments}: {done.stderr}")
        return done.stdout.removesuffix("\n")

    def check(self, texts, seed, kid):
        answers = self.run("check", "--seed", seed.hex(), "--key", str(kid), "--site", "demo", lines="\n".join(texts))
        return answers.split("\n")


def midnight(day):
    return int(datetime.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def random_claims(chance):
    name = lambda: "/".join("".join(chance.choices("abcdefgh-12", k=chance.randint(1, 7))) for _ in range(chance.randint(1, 2)))
    doors = chance.choice(["any", "group:" + name(), name(), [name() for _ in range(chance.randint(2, 4))]])
    start = datetime.date(2000, 1, 1) + datetime.timedelta(days=chance.randrange(30000))
    end = start + datetime.timedelta(days=chance.randint(1, 3000))
    sub, uses = chance.choice([None, name()]), chance.choice([None, chance.randint(1, 255)])
    some = claims_of(sub=sub, doors=doors, nbf=midnight(start), exp=midnight(end), cti=chance.randbytes(6), uses=uses)
    return some, start, end


def shown(claims):
    doors = claims[DOORS] if isinstance(claims[DOORS], str) else ",".join(claims[DOORS])
    who, uses = claims.get(SUB, "-"), claims.get(USES, 0)
    return f"{claims[CTI].hex()} {who} {doors} {claims[NBF]} {claims[EXP]} {uses}"


def check(program):
    ours, chance = Ours(program), random.Random(20261121)
    printed = subprocess.run([sys.executable, __file__, "vectors"], capture_output=True, text=True, check=True).stdout
    if printed != VECTORS.read_text():
        sys.exit(f"{VECTORS} is not what `passes.py vectors` prints")
    rounds, theirs = 200, []
    for number in range(rounds):
        seed, kid = chance.randbytes(32), chance.randrange(256)
        claims, start, end = random_claims(chance)
        doors = claims[DOORS] if isinstance(claims[DOORS], str) else ",".join(claims[DOORS])
        text = ours.run(claims.get(SUB, "-"), doors, str(start), str(end), "--id", str(int.from_bytes(claims[CTI], "big")),
                        "--uses", str(claims.get(USES, 0)), "--seed", seed.hex(), "--key", str(kid))
        message = base45.b45decode(text.removeprefix("GV2:"))
        read = Sign1Message.decode(message)
        read.key = OKPKey(crv=Ed25519, x=public(seed))
        assert read.verify_signature() and read.phdr[KID] == bytes([kid]), f"pycose refuses pass {number}"
        assert cbor2.loads(read.payload) == claims, f"pycose reads other claims from pass {number}"
        key = cwt.COSEKey.new({1: 1, -1: 6, -2: public(seed), 2: bytes([kid]), 3: -8})
        if claims[NBF] <= datetime.datetime.now().timestamp() < claims[EXP]:
            assert cwt.decode(message, key) == claims, f"cwt reads other claims from pass {number}"
        assert made(claims, seed, kid) == text, f"pycose writes pass {number} otherwise"
        broken = list(text)
        place = chance.randrange(4, len(broken))
        broken[place] = "0" if broken[place] != "0" else "1"
        answers = ours.check([made(claims, seed, kid), "".join(broken)], seed, kid)
        assert answers[0] == shown(claims), f"we read pass {number} as {answers[0]}"
        theirs.append(answers[1])
    bad = [text for _, text in bad_ones()]
    answers = ours.check(bad, SEED, 0)
    for (what, _), answer in zip(bad_ones(), answers, strict=True):
        assert answer == "the text of the pass is damaged", f"{what}: {answer}"
    refused = sum(answer.startswith("the ") for answer in theirs)
    assert refused == rounds, f"only {refused} of {rounds} changed passes were refused"
    codes = 0
    for _ in range(20):
        secret = chance.randbytes(32)
        before = int(datetime.datetime.now().timestamp())
        text = ours.run("rolling", "ada", "--seed", secret.hex())
        after = int(datetime.datetime.now().timestamp())
        assert text in {rolling(secret, "demo", "ada", seconds) for seconds in (before, after)}, "another rolling code"
        codes += 1
    print(f"passes: {rounds} of ours verified by pycose (those valid today by cwt too), {rounds} of pycose's by us, {refused} changed")
    print(f"ones and {len(bad)} well-signed bad ones refused; {codes} rolling codes equal")


if __name__ == "__main__":
    vectors() if sys.argv[1:] == ["vectors"] else check(sys.argv[2])
