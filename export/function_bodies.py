"""The msdk ops written in standard ONNX ops, as ONNX text. All sizes are read from shapes at run time.

Every body computes in float32 and returns the type of its first input. A Scan walks over tokens, taps or
bases, so no body makes a tensor with states, taps or bases beside the axis of tokens. The K sequences are
brought into step order first and scanned side by side: an ONNX runtime pays for every node of every step.
"""

from msdk_export.directions import Direction, parse_directions

_PLUGIN = 'plugin_version: string = "1", plugin_namespace: string = "msdk"'

_AXES = "\n".join(
    f"{name} = Constant <value_ints = [{axis}]> ()"
    for name, axis in {"axis0": 0, "axis1": 1, "axis2": 2, "axis3": 3, "axis4": 4, "axis_last": -1}.items()
)


def _directional_conv1d(directions: str, gated: bool) -> str:
    paths = parse_directions(directions)
    return f"""
    <directions: string = "{directions}", {_PLUGIN}> (x, weight, bias) => (u)
    {{
        {_AXES}
        x32 = Cast <to = 1> (x)
        x_tokens = Unsqueeze (x32, axis1)
        {_to_steps(["x_tokens"] * len(paths), "x_step", paths)}
        x_steps = Concat <axis = 1> ({_names("x_step", paths)})

        length = Shape <start = 2> (x)
        taps = Shape <start = 2> (weight)
        before = Sub (taps, axis1)
        padding = Concat <axis = 0> (before, axis0)
        padded = Pad (x_steps, padding, , axis3)
        {_range("tap", "taps")}
        tap_first = Transpose <perm = [2, 0, 1]> (weight)
        tap_weights = Unsqueeze (tap_first, axis3)
        bias_column = Unsqueeze (bias, axis2)
        x_shape = Shape (x_steps)
        bias_everywhere = Expand (bias_column, x_shape)
        total = Scan <num_scan_inputs = 2, body = add_tap
            (float[b, k, d, l] sum, float[k, d, one] tap_weight, int64 first) => (float[b, k, d, l] sum_out)
            {{
                begin = Unsqueeze (first, axis0)
                end = Add (begin, length)
                window = Slice (padded, begin, end, axis3)
                weighted = Mul (tap_weight, window)
                sum_out = Add (sum, weighted)
            }}> (bias_everywhere, tap_weights, tap)
        {_silu("total", "activated")}
        {_split("activated", "activated_step", paths)}
        {_to_tokens("activated_step", "u_token", paths)}
        u32 = Concat <axis = 1> ({_names("u_token", paths)})
        u = CastLike (u32, x)
    }}"""


def _bidirectional_selective_scan(directions: str, gated: bool) -> str:
    paths = parse_directions(directions)
    z = ", z" if gated else ""
    gate = "y32 = Identity (scaled)"
    if gated:
        gate = f"z32 = Cast <to = 1> (z)\n{_silu('z32', 'gate')}\ny32 = Mul (scaled, gate)"
    return f"""
    <scale: float = 1.0, directions: string = "{directions}", {_PLUGIN}>
    (u, x_dbl, dt_weight, dt_bias, A, D_skip{z}) => (y)
    {{
        {_AXES}
        u32 = Cast <to = 1> (u)
        x_dbl32 = Cast <to = 1> (x_dbl)
        {_split("u32", "u_token", paths)}
        {_split("x_dbl32", "row_token", paths)}
        {_to_steps([f"u_token{k}" for k in range(len(paths))], "u_step", paths)}
        {_to_steps([f"row_token{k}" for k in range(len(paths))], "row_step", paths)}
        u_steps = Concat <axis = 1> ({_names("u_step", paths)})
        row_steps = Concat <axis = 1> ({_names("row_step", paths)})

        rank = Shape <start = 2> (dt_weight)
        states = Shape <start = 2> (A)
        row_counts = Concat <axis = 0> (rank, states, states)
        dt, B, C = Split <axis = 2> (row_steps, row_counts)
        dt_projected = MatMul (dt_weight, dt)
        dt_bias_column = Unsqueeze (dt_bias, axis2)
        dt_biased = Add (dt_projected, dt_bias_column)
        delta = Softplus (dt_biased)

        A_rows = Transpose <perm = [0, 2, 1]> (A)
        {_steps_first("delta", "delta_rows", "axis3")}
        {_steps_first("u_steps", "u_rows", "axis3")}
        {_steps_first("B", "B_columns", "axis4")}
        {_steps_first("C", "C_rows", "axis3")}
        scans = Shape <start = 0, end = 2> (u)
        channels = Shape <start = 2, end = 3> (u)
        h_shape = Concat <axis = 0> (scans, states, channels)
        zeros = ConstantOfShape (h_shape)
        h_end, y_rows = Scan <num_scan_inputs = 4, body = step
            (float[b, k, n, d] h, float[b, k, one, d] delta_t, float[b, k, one, d] u_t,
             float[b, k, n, one] B_t, float[b, k, one, n] C_t)
            => (float[b, k, n, d] h_next, float[b, k, one, d] y_t)
            {{
                exponent = Mul (delta_t, A_rows)
                decay = Exp (exponent)
                kept = Mul (decay, h)
                drive = Mul (delta_t, u_t)
                added = Mul (B_t, drive)
                h_next = Add (kept, added)
                y_t = MatMul (C_t, h_next)
            }}> (zeros, delta_rows, u_rows, B_columns, C_rows)
        y_first = Squeeze (y_rows, axis3)
        y_scan = Transpose <perm = [1, 2, 3, 0]> (y_first)
        D_column = Unsqueeze (D_skip, axis2)
        skipped = Mul (D_column, u_steps)
        y_steps = Add (y_scan, skipped)
        {_split("y_steps", "y_step", paths)}
        {_to_tokens("y_step", "y_token", paths)}
        y_sum = Sum ({_names("y_token", paths)})
        y_ungated = Squeeze (y_sum, axis1)
        factor = Constant <value_float: float = @scale> ()
        scaled = Mul (y_ungated, factor)
        {gate}
        y = CastLike (y32, u)
    }}"""


def _kan_linear(directions: str, gated: bool) -> str:
    return f"""
    <grid_min: float = -1.0, grid_max: float = 1.0, {_PLUGIN}> (x, base_weight, spline_weight) => (y)
    {{
        {_AXES}
        x32 = Cast <to = 1> (x)
        {_silu("x32", "activated")}
        base = MatMul (base_weight, activated)

        bases = Shape <start = 2> (spline_weight)
        intervals_int = Sub (bases, axis3)
        intervals = Cast <to = 1> (intervals_int)
        low = Constant <value_float: float = @grid_min> ()
        high = Constant <value_float: float = @grid_max> ()
        extent = Sub (high, low)
        per_knot = Div (intervals, extent)
        above_low = Sub (x32, low)
        in_knots = Mul (above_low, per_knot)
        {_range("basis", "bases")}
        basis_weights = Transpose <perm = [2, 0, 1]> (spline_weight)
        one = Constant <value_float = 1.0> ()
        two = Constant <value_float = 2.0> ()
        four = Constant <value_float = 4.0> ()
        six = Constant <value_float = 6.0> ()
        y32 = Scan <num_scan_inputs = 2, body = add_basis
            (float[b, o, l] sum, float[o, c] basis_weight, int64 g) => (float[b, o, l] sum_out)
            {{
                index = Cast <to = 1> (g)
                centre = Sub (index, one)
                offset = Sub (in_knots, centre)
                w = Abs (offset)
                wide = Sub (two, w)
                wide_positive = Relu (wide)
                wide_square = Mul (wide_positive, wide_positive)
                wide_cube = Mul (wide_square, wide_positive)
                narrow = Sub (one, w)
                narrow_positive = Relu (narrow)
                narrow_square = Mul (narrow_positive, narrow_positive)
                narrow_cube = Mul (narrow_square, narrow_positive)
                correction = Mul (narrow_cube, four)
                spline_times_six = Sub (wide_cube, correction)
                weight = Div (basis_weight, six)
                weighted = MatMul (weight, spline_times_six)
                sum_out = Add (sum, weighted)
            }}> (base, basis_weights, basis)
        y = CastLike (y32, x)
    }}"""


def _conv3d(directions: str, gated: bool) -> str:
    return """
    <strides, pads, group> (x, weight, bias) => (y)
    {
        y = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (x, weight, bias)
    }"""


def _token_norm(directions: str, gated: bool) -> str:
    """The norm as msdk_export.layers.TokenNorm writes it: means over channels are products with a row."""
    return """
    <epsilon: float = 1e-5> (x, weight, bias) => (y)
    {
        channels = Shape <start = 1, end = 2> (x)
        one = Constant <value_ints = [1]> ()
        row = Concat <axis = 0> (one, channels)
        ones = ConstantOfShape <value = float[1] {1.0}> (row)
        count = Cast <to = 1> (channels)
        average = Div (ones, count)
        mean = MatMul (average, x)
        centred = Sub (x, mean)
        square = Mul (centred, centred)
        variance = MatMul (average, square)
        least = Constant <value_float: float = @epsilon> ()
        positive = Add (variance, least)
        deviation = Sqrt (positive)
        scale = Reciprocal (deviation)
        normalised = Mul (centred, scale)
        weight_column = Unsqueeze (weight, one)
        bias_column = Unsqueeze (bias, one)
        weighted = Mul (normalised, weight_column)
        y = Add (weighted, bias_column)
    }"""


def _trilinear_upsample(directions: str, added: bool) -> str:
    doubled = """scales = Constant <value_floats = [1.0, 1.0, 2.0, 2.0, 2.0]> ()
        doubled = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, , scales)"""
    return f"""
    ({"x, addend" if added else "x"}) => (y)
    {{
        {doubled}
        y = {"Add (doubled, addend)" if added else "Identity (doubled)"}
    }}"""


def _names(prefix: str, paths: tuple[Direction, ...]) -> str:
    return ", ".join(f"{prefix}{k}" for k in range(len(paths)))


def _split(source: str, prefix: str, paths: tuple[Direction, ...]) -> str:
    """(B, K, ...) -> K tensors (B, 1, ...)."""
    return f"{_names(prefix, paths)} = Split <axis = 1, num_outputs = {len(paths)}> ({source})"


def _silu(x: str, y: str) -> str:
    """x / (1 + exp(-x)): ONNX Runtime's Sigmoid is flat below -18, which a large gate would show."""
    return f"""{y}_one = Constant <value_float = 1.0> ()
        {y}_negative = Neg ({x})
        {y}_exp = Exp ({y}_negative)
        {y}_divisor = Add ({y}_one, {y}_exp)
        {y} = Div ({x}, {y}_divisor)"""


def _range(name: str, count: str) -> str:
    """0, 1, .. count - 1 as int64."""
    return f"""{name}_count = Squeeze ({count})
        {name}_start = Constant <value_int = 0> ()
        {name}_step = Constant <value_int = 1> ()
        {name} = Range ({name}_start, {name}_count, {name}_step)"""


def _steps_first(source: str, target: str, new_axis: str) -> str:
    """(B, K, F, L) -> (L, B, K, F) with an axis of size 1 put in."""
    return f"""{target}_flat = Transpose <perm = [3, 0, 1, 2]> ({source})
        {target} = Unsqueeze ({target}_flat, {new_axis})"""


def _to_steps(tokens: list[str], prefix: str, paths: tuple[Direction, ...]) -> str:
    """(B, 1, F, L) in token order -> `prefix`k (B, 1, F, L) in the order path k visits them."""
    return "\n".join(
        _interleaved(source, f"{prefix}{k}_sliced", [path.slices, -1])
        + _reversed(f"{prefix}{k}_sliced", f"{prefix}{k}", path.backward)
        for k, (source, path) in enumerate(zip(tokens, paths, strict=True))
    )


def _to_tokens(source: str, prefix: str, paths: tuple[Direction, ...]) -> str:
    """The inverse of _to_steps."""
    return "\n".join(
        _reversed(f"{source}{k}", f"{prefix}{k}_ahead", path.backward)
        + _interleaved(f"{prefix}{k}_ahead", f"{prefix}{k}", [-1, path.slices])
        for k, path in enumerate(paths)
    )


def _interleaved(source: str, target: str, sides: list[int]) -> str:
    """The last axis, seen as a matrix of these sides, transposed."""
    if 1 in sides:
        return f"{target} = Identity ({source})\n"
    return f"""{target}_sides = Constant <value_ints = [0, 0, 0, {sides[0]}, {sides[1]}]> ()
        {target}_matrix = Reshape ({source}, {target}_sides)
        {target}_transposed = Transpose <perm = [0, 1, 2, 4, 3]> ({target}_matrix)
        {target}_flat = Constant <value_ints = [0, 0, 0, -1]> ()
        {target} = Reshape ({target}_transposed, {target}_flat)
    """


def _reversed(source: str, target: str, backward: bool) -> str:
    if not backward:
        return f"{target} = Identity ({source})\n"
    return f"""{target}_end = Constant <value_ints = [{-(2**63) + 1}]> ()
        {target} = Slice ({source}, axis_last, {target}_end, axis3, axis_last)
    """


BODIES = {
    "DirectionalConv1d": _directional_conv1d,
    "BidirectionalSelectiveScan": _bidirectional_selective_scan,
    "KanLinear": _kan_linear,
    "Conv3d": _conv3d,
    "TokenNorm": _token_norm,
    "TrilinearUpsample": _trilinear_upsample,
}
