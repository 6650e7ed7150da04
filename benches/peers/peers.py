"""What a Python programmer would use instead, measured in turns with `auricle bench ... --peer "python3 benches/peers/peers.py"`.

One line of JSON says what there is; then each line {"run": name, "seconds": s} is answered with {"rate": r}, in the unit of the
figures that it is held against. Work is that of the figures: frames of 1024 f32, the same filter, as many quiet frames.
What is not installed is skipped, and said so.
"""

import json
import os
import statistics
import sys
import time

# Of those that are held against one thread; the others take what they like.
os.environ.setdefault("MKL_NUM_THREADS", "1")

LEN, COLD, HOT = 1024, 128 * 1024, 128
CORES = os.environ.get("AURICLE_BENCH_THREADS", os.cpu_count())
PHI = (1 + 5**0.5) / 2

peers, versions, skipped = {}, {}, {}


def peer(name, figures):
    """A function that makes what is measured: a call that returns how many units it did."""

    def add(make):
        peers[name] = (figures, make, [])
        return make

    return add


def module(name):
    try:
        found = __import__(name, fromlist=["_"])
    except Exception as error:  # What is broken is as good as absent.
        skipped[name] = f"{type(error).__name__}: {error}"
        return None
    base = __import__(name.split(".")[0])
    versions[name.split(".")[0]] = getattr(base, "__version__", "unknown")
    return found


numpy = module("numpy")
if numpy is None:
    print(json.dumps({"peers": [], "skipped": skipped}), flush=True)
    sys.exit()


def response():
    k = numpy.arange(LEN // 2 + 1) / LEN
    return (1 / (1 + PHI * k * k)).astype(numpy.float32)


def signal(frames, quiet_percent):
    """Starts at a cache line: some are several times as fast then."""
    random = numpy.random.default_rng(1)
    room = numpy.empty(frames * LEN + 16, numpy.float32)
    begin = -room.ctypes.data % 64 // 4
    samples = room[begin : begin + frames * LEN].reshape(frames, LEN)
    samples[:] = random.random((frames, LEN), dtype=numpy.float32) - 0.5
    samples[random.random(frames) < quiet_percent / 100] *= 1e-6
    return samples


def fft_peer(name, fft):
    @peer(name, ["filter.hot.1t"])
    def make():
        samples, gains = signal(HOT, 0), response()

        def work():
            fft.irfft(fft.rfft(samples, axis=1) * gains, LEN, axis=1)
            return HOT

        return work


fft_peer("numpy.fft", numpy.fft)
if scipy_fft := module("scipy.fft"):
    fft_peer("scipy.fft", scipy_fft)
if mkl := module("mkl_fft.interfaces.numpy_fft"):
    fft_peer("mkl_fft", mkl)


def late(begin):
    if time.perf_counter() - begin > 30:
        raise TimeoutError("not done after 30 s")


def residue_peers(residue):
    """Its gate and its statistic of each live frame: no filter, and see the notes on its results in benches/README.md."""
    for sparse in (0, 50, 90, 99):

        @peer(f"residue sync {sparse} %", [f"pipeline.sparse{sparse}.{CORES}t"])
        def make(sparse=sparse):
            samples = signal(COLD, sparse).reshape(-1)
            controller = residue.core.create_entropy_controller_v3()
            call = 16_384 * LEN

            def work():
                for at in range(0, samples.size, call):
                    controller.batch_infer_walled(samples[at : at + call], LEN)
                return COLD

            return work

    for sparse in (99, 50):

        @peer(f"residue async {sparse} %", [f"ingest.sparse{sparse}"])
        def make(sparse=sparse):
            block, push = signal(256, sparse).reshape(-1), 65_536

            def work():
                observer = residue.AsyncObserver(LEN, 10_000)
                observer.start()
                at, begin = 0, time.perf_counter()
                try:
                    while at < COLD * LEN:
                        place = at % block.size
                        at += observer.push_data(block[place : place + push])
                        late(begin)
                    while observer.poll_telemetry().total_samples_processed < COLD:
                        time.sleep(20e-6)
                        late(begin)
                finally:
                    observer.stop()
                return COLD

            return work


if residue := module("residue"):
    residue_peers(residue)


def rebuilt(onnx, numpy, folder):
    """Both networks of the published DTLN as one graph that suits onnxruntime better than the published ones do, whose batch of
    one is fixed: fused LSTMs in both, states that need no slicing, the learned basis as a matrix product."""
    from onnx import TensorProto, helper, numpy_helper

    def weights(name):
        tensors = onnx.load(os.path.join(folder, name)).graph.initializer
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}

    first, second = weights("model_1.onnx"), weights("model_2.onnx")
    nodes, tensors, inputs, outputs = [], [], [], []

    def keep(name, values):
        tensors.append(numpy_helper.from_array(numpy.ascontiguousarray(values, numpy.float32), name))
        return name

    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def node(kind, of, to, **attributes):
        nodes.append(helper.make_node(kind, of, to if isinstance(to, list) else [to], **attributes))
        return to if isinstance(to, str) else to[0]

    def keras(kernel, recurrent, bias):
        """From Keras' i, f, c, o to i, o, f, c."""
        turn = lambda w: numpy.concatenate([numpy.split(w.T, 4)[at] for at in (0, 3, 1, 2)])
        return turn(kernel)[None], turn(recurrent)[None], numpy.concatenate([turn(bias[None])[:, 0], numpy.zeros(512)])[None]

    def lstm(name, x, arrays):
        w, r, b = (keep(f"{name}_{part}", values) for part, values in zip("WRB", arrays))
        for state in "hc":
            inputs.append(value(f"{name}_{state}", [1, "channels", 128]))
            outputs.append(value(f"{name}_{state}_next", [1, "channels", 128]))
        made = [f"{name}_y", f"{name}_h_next", f"{name}_c_next"]
        node("LSTM", [x, w, r, b, "", f"{name}_h", f"{name}_c"], made, hidden_size=128)
        return node("Squeeze", [made[0], axes], f"{name}_out")

    def dense(name, x, kernel, bias=None):
        y = node("MatMul", [x, keep(f"{name}_kernel", kernel)], f"{name}_product")
        return y if bias is None else node("Add", [y, keep(f"{name}_bias", bias)], f"{name}_sum")

    axes = "axes"
    tensors.append(numpy_helper.from_array(numpy.array([1], numpy.int64), axes))
    inputs += [value("spectrum", [1, "channels", 257]), value("frame", [1, "channels", 512])]
    x = "spectrum"
    for layer in ("lstm_4", "lstm_5"):
        x = lstm(layer, x, [first[f"{layer}_{part}"] for part in "WRB"])
    node("Sigmoid", [dense("mask0", x, first["dense_2/kernel:0"], first["dense_2/bias:0"])], "mask")
    encoded = dense("encoder", "frame", second["conv1d_2/kernel:0"][:, :, 0].T)
    norm = "model_2/instant_layer_normalization_1/"
    gain, bias = (keep(name, second[f"{norm}{name}/ReadVariableOp/resource:0"]) for name in ("mul", "add_1"))
    x = node("LayerNormalization", [encoded, gain, bias], "normal", axis=-1, epsilon=1e-7)
    for layer in ("lstm_6", "lstm_7"):
        parts = [second[f"model_2/{layer}/{part}/ReadVariableOp/resource:0"] for part in ("MatMul", "MatMul_1", "BiasAdd")]
        x = lstm(layer, x, keras(*parts))
    kernel = second["model_2/dense_3/Tensordot/Reshape_1:0"]
    bias = second["model_2/dense_3/BiasAdd/ReadVariableOp/resource:0"]
    mask = node("Sigmoid", [dense("mask1", x, kernel, bias)], "mask_of_basis")
    masked = node("Mul", [encoded, mask], "masked")
    decoded = dense("decoder", masked, second["conv1d_3/kernel:0"][:, :, 0].T)
    outputs += [value("mask", [1, "channels", 257]), value(decoded, [1, "channels", 512])]
    graph = helper.make_graph(nodes, "dtln", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def freed(onnx, numpy, folder, name):
    """One of the published graphs, whose batch is one, for any batch."""
    model = onnx.load(os.path.join(folder, name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "channels"
    for tensor in model.graph.initializer:
        if tensor.name.startswith("shape_tensor"):
            shape = onnx.numpy_helper.to_array(tensor).copy()
            shape[0] = -1
            tensor.CopyFrom(onnx.numpy_helper.from_array(shape, tensor.name))
    return model.SerializeToString()


def onnx_peers(onnx, runtime, folder):
    """One thread, without the transforms and the overlap-add."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for channels in (1, 16, 64, 256):
        figures = [f"denoise.dtln.{kind}{channels}ch.1t" for kind in ("", "f16.", "int8.")]
        if channels == 1:
            # It goes hop by hop through a recording, too: the state of one call is the next one's.
            figures += ["denoise.dtln.file.1t", "denoise.dtln.f16.file.1t", "denoise.dtln.int8.file.1t"]

        def made_of(graphs, shape, channels):
            random, sessions = numpy.random.default_rng(1), []
            for graph in graphs:
                session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
                shapes = {value.name: shape(channels, value.shape) for value in session.get_inputs()}
                feed = {name: random.random(shape, dtype=numpy.float32) for name, shape in shapes.items()}
                sessions.append((session, feed))

            def work():
                for session, feed in sessions:
                    session.run(None, feed)
                return channels * 128 / 16_000

            return work

        @peer(f"onnxruntime {channels} ch", figures)
        def make(channels=channels):
            return made_of([rebuilt(onnx, numpy, folder)], lambda count, shape: (1, count, shape[2]), channels)

        @peer(f"onnxruntime {channels} ch, as published", [f"denoise.dtln.{channels}ch.1t"])
        def make_published(channels=channels):
            graphs = [freed(onnx, numpy, folder, name) for name in ("model_1.onnx", "model_2.onnx")]
            return made_of(graphs, lambda count, shape: (count, *shape[1:]), channels)


folder = os.environ.get("DTLN")
if folder and (onnx := module("onnx")) and (runtime := module("onnxruntime")):
    onnx_peers(onnx, runtime, folder)
elif not folder:
    skipped["onnxruntime"] = "DTLN names no folder with model_1.onnx and model_2.onnx of github.com/breizhn/DTLN"


def torch_peers(torch):
    device = torch.device("cuda")
    frames = 64 * 1024
    gains = torch.from_numpy(response()).to(device)

    def chain(samples):
        live = samples.abs().amax(dim=1, keepdim=True) > 1e-3
        return torch.fft.irfft(torch.fft.rfft(samples, dim=1) * gains, LEN, dim=1) * live

    for sparse in (0, 50, 90, 99):

        @peer(f"torch {sparse} %, resident", [f"gpu.kernels.sparse{sparse}"])
        def make(sparse=sparse):
            samples = torch.from_numpy(signal(frames, sparse)).to(device)

            def work():
                chain(samples)
                torch.cuda.synchronize()
                return frames

            return work

        @peer(f"torch {sparse} %", [f"gpu.pipeline.sparse{sparse}"])
        def make_whole(sparse=sparse):
            samples = torch.from_numpy(signal(frames, sparse)).pin_memory()
            back = torch.empty_like(samples).pin_memory()

            def work():
                back.copy_(chain(samples.to(device, non_blocking=True)))
                torch.cuda.synchronize()
                return frames

            return work


if torch := module("torch"):
    if torch.cuda.is_available():
        torch_peers(torch)
    else:
        skipped["torch"] = "it finds no GPU"


def turn(name, seconds):
    figures, make, made = peers[name]
    if not made:
        # Memory is kept for one at a time.
        for _, _, others in peers.values():
            others.clear()
        made.append(make())
        made[0]()
    rates, begin = [], time.perf_counter()
    while True:
        start = time.perf_counter()
        amount = made[0]()
        now = time.perf_counter()
        rates.append(amount / (now - start))
        if now - begin >= seconds:
            return statistics.median(rates)


offers = [{"name": name, "figures": figures} for name, (figures, _, _) in peers.items()]
print(json.dumps({"peers": offers, "versions": versions, "skipped": skipped}), flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    try:
        answer = {"rate": turn(wanted["run"], wanted["seconds"])}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
