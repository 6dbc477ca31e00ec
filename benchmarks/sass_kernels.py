"""The hot kernels: which loop of each does the work, and how much a turn does. New ones are entered here."""

from dataclasses import dataclass, replace

from benchmarks.sass_code import EX2, PRODUCT

OPS = ("selective_scan", "directional_conv1d", "kan_linear")
HALF, FLOAT = 2, 4  # bytes


@dataclass(frozen=True)
class Size:
    """Of the scan and the convolution. KanLinear has as many channels in and out."""

    length: int
    channels: int
    states: int
    rank: int
    directions: int
    width: int
    bases: int

    @property
    def outputs(self) -> int:
        return self.length * self.channels

    @property
    def updates(self) -> int:
        return self.outputs * self.states * self.directions


@dataclass(frozen=True)
class Shape:
    """How a kernel is counted.

    name: as readable() gives it. op: what its time is part of. unit: what is counted.
    marks: a pattern of instructions; the innermost loop with the most of them is the hot one.
    a_mark: how many units each of these marks stands for.
    spans: how many units a lane does in a turn of each loop around the hot one, from the inside out, and last
        in the whole kernel. Those of loops that the compiler unrolled are passed over.
    units: of all lanes, those included that lie past an edge. bytes: what memory has to move.
    inner: other loops, by a pattern that they have most of, and how many of those instructions a unit takes.
    twice: the hot loop is there twice, one after the other.
    most_blocks: how many there are, where a GPU may have more SMs.
    """

    name: str
    op: str
    unit: str
    marks: str
    a_mark: float
    spans: tuple[float, ...]
    units: int
    bytes: int
    inner: tuple[tuple[str, float], ...] = ()
    twice: bool = False
    most_blocks: int | None = None


SIZE = Size(length=262_144, channels=96, states=16, rank=3, directions=2, width=4, bases=8)
# A step takes an exponential for each state and one for softplus.
OF_A_STEP = SIZE.states / (SIZE.states + 1)

# Bytes of the tensors: u, y or z, a row of x_dbl, the chunks' states with the sums of delta.
U = SIZE.directions * SIZE.outputs * HALF
Y = SIZE.outputs * HALF
ROW = SIZE.directions * SIZE.length * HALF
CHUNK, TILE = 128, 16  # steps; those of a tile are staged together
CHUNKS = SIZE.length // CHUNK
STATES = SIZE.directions * CHUNKS * SIZE.channels * (SIZE.states + 1) * FLOAT

SUMMARIES = Shape(
    "summaries_kernel<Half, 16>",
    "selective_scan",
    "an update",
    EX2,
    OF_A_STEP,
    spans=(TILE * SIZE.states, CHUNK * SIZE.states),
    units=SIZE.updates,
    bytes=U + ROW * (SIZE.rank + SIZE.states) + STATES,
    inner=(("FFMA", SIZE.rank / SIZE.states),),  # delta of a step, over the rows of dt
)
CARRY_WARPS = 32
OF_A_WARP = CHUNKS // CARRY_WARPS  # chunks
CARRIES = Shape(
    "carries_kernel<Half>",
    "selective_scan",
    "a state of a chunk",
    "LDG",
    1 / 2,  # a load of the state and one of the sum
    spans=(OF_A_WARP,),
    units=CHUNKS * SIZE.directions * SIZE.channels * SIZE.states,
    bytes=3 * STATES,
    inner=(("LDS", 2 * (CARRY_WARPS / 2) / OF_A_WARP),),  # over the warps before
    twice=True,
)
OUTPUTS = Shape(
    "outputs_kernel<Half, 16>",
    "selective_scan",
    "an update",
    EX2,
    OF_A_STEP,
    spans=(
        TILE * SIZE.states,
        CHUNK * SIZE.states,  # blocks of states: one
        CHUNK * SIZE.states,  # directions
        SIZE.directions * CHUNK * SIZE.states,
    ),
    units=SIZE.updates,
    bytes=U + ROW * (SIZE.rank + 2 * SIZE.states) + STATES + 2 * Y,
    inner=(
        ("FFMA", SIZE.rank / SIZE.states),
        (r"MUFU\.RCP", 1 / (SIZE.states * SIZE.directions)),  # the gate
    ),
)
# Those of neighbouring tokens, which are what runs at this size; a rank of 3 takes the kernel of 4.
NEIGHBOUR_SUMMARIES = replace(SUMMARIES, name="neighbour_summaries<Half, 4>", inner=())
NEIGHBOUR_OUTPUTS = replace(
    OUTPUTS,
    name="neighbour_outputs<Half, 4>",
    spans=(TILE * SIZE.states, CHUNK * SIZE.states, SIZE.directions * CHUNK * SIZE.states),
    inner=(),
)
CONV = Shape(
    "conv_kernel<Half>",
    "directional_conv1d",
    "an output",
    EX2,
    1,
    spans=(4, 4 * SIZE.directions),  # tokens of a thread
    units=SIZE.directions * SIZE.outputs,
    bytes=Y + U,
    inner=(("FFMA", SIZE.width), ("STS", 1 / SIZE.directions)),  # taps, staging
)
CONV_OF_NEIGHBOURS = replace(
    CONV,
    name="conv_of_neighbours<Half>",
    spans=(8, 8 * SIZE.directions),  # tokens that 16 bytes hold
    inner=(),
)
# 128 tokens by 96 outputs of 256 threads; 32 rows at once, each of two channels. A weight is two halves, so
# that a lane's 64 products of an instruction count half.
KAN_ROWS = 32
KAN_PAIRS = SIZE.channels // 2
KAN_TURNS = -(-KAN_PAIRS * (SIZE.bases + 1) // KAN_ROWS)
KAN_PRODUCTS = 2 * KAN_ROWS * 128 * 96 // 256  # of a lane in a turn
# A lane makes the features of a channel of every pair, again where a pair goes on in the next turn.
KAN_CUT_PAIRS = sum(turn * KAN_ROWS % (SIZE.bases + 1) != 0 for turn in range(1, KAN_TURNS))
KAN = Shape(
    "kan_product_kernel",
    "kan_linear",
    "a product",
    PRODUCT,
    32,
    spans=(KAN_PRODUCTS, KAN_TURNS * KAN_PRODUCTS),
    units=SIZE.outputs * KAN_TURNS * 2 * KAN_ROWS,
    bytes=2 * Y,
    inner=(
        (EX2, (KAN_PAIRS + KAN_CUT_PAIRS) / (KAN_TURNS * KAN_PRODUCTS)),
        ("LDG", KAN_ROWS * 96 / 256 * 2 / KAN_PRODUCTS),  # a pair of weights is two loads
    ),
)
# In float32: 64 tokens by 64 outputs of 256 threads; as many channels are staged together as have 64 rows.
KAN_CHANNELS = 64 // (SIZE.bases + 1)
KAN_FMAS = -(-KAN_CHANNELS * (SIZE.bases + 1) // 4) * 4 * 16  # rows by fours
KAN_CHANNEL_FMAS = KAN_FMAS / KAN_CHANNELS
KAN_OF_FLOATS = Shape(
    "kan_kernel",
    "kan_linear in float32",
    "a product",
    PRODUCT,
    1,
    spans=(KAN_FMAS, SIZE.channels * KAN_CHANNEL_FMAS),
    units=int(SIZE.length * SIZE.channels * KAN_CHANNEL_FMAS / 16 * 128),  # of two blocks of outputs
    bytes=4 * Y,
    inner=(
        (EX2, KAN_CHANNELS * 64 / 256 / KAN_FMAS),
        ("LDG", 64 * 64 / 256 / KAN_FMAS),  # a weight of every output that a thread has
    ),
)
OF_SLICES = "selective_scan of slices, its first and last pass"
OF_ANY_WIDTH = "directional_conv1d of slices or another width"
KERNELS = (
    NEIGHBOUR_SUMMARIES,
    CARRIES,
    NEIGHBOUR_OUTPUTS,
    replace(SUMMARIES, op=OF_SLICES),
    replace(OUTPUTS, op=OF_SLICES),
    CONV_OF_NEIGHBOURS,
    replace(CONV, op=OF_ANY_WIDTH),
    KAN,
    KAN_OF_FLOATS,
)

TRAITS = "Selective_Scan_fwd_kernel_traits<128, 16, 1, true, true, true, true, Half, float>"
# mamba-ssm's forward kernel where 2048 divides L: a block of 128 threads is a channel, a thread does 16 steps
# of every 2048. Called once a direction; the flips and the product that makes delta come on top.
PEER = Shape(
    f"selective_scan_fwd_kernel<{TRAITS} >",
    "mamba-ssm's kernel",
    "an update",
    EX2,
    1,
    spans=(16 * SIZE.states, SIZE.length // 128 * SIZE.states),
    units=SIZE.updates,
    bytes=2 * U + 2 * SIZE.states * ROW + 3 * SIZE.directions * Y,  # u, delta; B, C; z, y with and without it
    most_blocks=SIZE.channels,
)
