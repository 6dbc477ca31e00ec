"""msdk-rt bench on a GPU: what its sensors say, and what the report says of it.

No test has a GPU. tegrastats is a script that prints lines, which are of the documented format (Jetson Linux
Developer Guide, "tegrastats Utility") with the rails of three boards. NVML's functions are replaced, in the
real package, by the values of a device: names, arguments and units are the package's own.
"""

import sys
import time
import types

import pynvml
import pytest

import msdk_rt
from msdk_rt.bench.page import page
from msdk_rt.bench.report import VolumeTime
from msdk_rt.bench.sensors import watch as watch_module
from msdk_rt.bench.sensors.base import Sample, SensorProblem
from msdk_rt.bench.sensors.nvml import Nvml
from msdk_rt.bench.sensors.tegrastats import parse
from msdk_rt.bench.sensors.watch import GpuState, GpuWatch, on_gpu
from tests.support.small_model import write_artifact

AGX_ORIN = (
    "11-25-2026 10:36:27 RAM 4321/62801MB (lfb 9x4MB) SWAP 19/31400MB (cached 0MB) CPU [7%@729,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 42%@[611,624] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40C "
    "GPU@41.5C tj@44.343C VDD_GPU_SOC 2340mW/2200mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4000mW "
    "NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW\n"
)
ORIN_NANO = (
    "RAM 2100/7620MB (lfb 4x1MB) SWAP 0/3810MB (cached 0MB) CPU [12%@1510,9%@1510] GR3D_FREQ 99%@[624] "
    "cpu@51.2C gpu@-256C tj@52.1C VDD_IN 9876mW/9000mW VDD_CPU_GPU_CV 4500mW/4000mW VDD_SOC 1800mW/1700mW\n"
)
TX2 = (
    "RAM 3276/7859MB (lfb 5x4MB) CPU [44%@1421,49%@2031] EMC_FREQ 1%@1866 GR3D_FREQ 3%@114 APE 150 MTS fg 1% "
    "PLL@42.5C MCPU@42.5C PMIC@50C GPU@39.5C VDD_SYS_GPU 182/182 VDD_SYS_SOC 730/730 VDD_IN 5297/5290\n"
)
BARE = "RAM 100/1000MB (lfb 1x4MB) CPU [0%,0%] GR3D_FREQ 7%\n"


@pytest.mark.parametrize(
    ("line", "sample", "rails"),
    [
        (AGX_ORIN, Sample(1, 624, 41.5, 6.755, 4321), ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]),
        (ORIN_NANO, Sample(1, 624, 52.1, 9.876, 2100), ["VDD_IN"]),
        (TX2, Sample(1, 114, 39.5, 5.297, 3276), ["VDD_IN"]),
        (BARE, Sample(1, None, None, None, 100), []),
        ("tegrastats: something went wrong\n", Sample(1), []),
    ],
)
def test_a_line_of_tegrastats(line, sample, rails):
    found, counted = parse(line, at=1)
    assert counted == rails
    assert found == sample


@pytest.fixture
def tegrastats(tmp_path, monkeypatch):
    """A program of that name, alone on the path, which prints a line every 20 ms until it is ended."""
    program = tmp_path / "tegrastats"
    program.write_text(
        f"#!{sys.executable}\nimport sys, time\nassert sys.argv[1:] == ['--interval', '100']\n"
        f"while True:\n    print({ORIN_NANO!r}, end='', flush=True)\n    time.sleep(0.02)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_tegrastats_is_read_until_the_end_and_energy_is_power_times_time(tegrastats):
    with GpuWatch() as watch:
        while watch.state().samples < 3:
            time.sleep(0.01)
        begin = time.perf_counter()
        time.sleep(0.2)
        end = time.perf_counter()
    assert not watch._thread.is_alive()
    state = watch.state()
    assert state.sensor == "Jetson (tegrastats, VDD_IN)"
    assert state.clock_mhz == (624, 624, 624)
    assert watch.joules(begin, end) == pytest.approx(9.876 * (end - begin), rel=0.05)
    assert watch.joules(begin, end + 60) is None
    assert "9.9 W on average" in state.as_text()


def test_a_watch_that_ends_at_once_leaves_no_program_behind(tegrastats, monkeypatch):
    monkeypatch.setattr(watch_module, "INTERVAL", 0.0)
    for _ in range(5):
        with GpuWatch() as watch:
            pass
        assert watch._sensor._process.poll() is not None


@pytest.fixture
def device(monkeypatch):
    """The real package in front of one device, whose energy counter runs at 250 W."""
    monkeypatch.setenv("PATH", "")
    unsupported = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def temperature(handle, sensor):
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        raise unsupported

    def clock(handle, kind):
        assert (handle, kind) == ("handle 0", pynvml.NVML_CLOCK_SM)
        return 1980

    values = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: f"handle {uuid}",
        "nvmlDeviceGetName": lambda handle: "NVIDIA Something",
        "nvmlDeviceGetClockInfo": clock,
        "nvmlDeviceGetTemperature": temperature,
        "nvmlDeviceGetPowerUsage": lambda handle: 250_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: int(250e3 * time.perf_counter()),
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(used=3_000_000_000),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: (
            pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonGpuIdle
        ),
    }
    for name, value in values.items():
        assert callable(getattr(pynvml, name))
        monkeypatch.setattr(pynvml, name, value)


def test_nvml_in_its_own_units(device, monkeypatch):
    sensor = Nvml(0, None)
    sample = next(sensor.samples())
    assert sensor.name == "NVIDIA Something (NVML)"
    assert (sample.clock_mhz, sample.power_w, sample.memory_mb) == (1980, 250, 3000)
    assert sample.temperature_c is None
    assert sample.limits == ("power cap",)
    monkeypatch.delattr(pynvml, "nvmlDeviceGetPowerUsage")
    assert next(sensor.samples()).power_w is None


@pytest.mark.parametrize(
    ("index", "visible", "handle"),
    [(1, None, "1"), (0, "3,1", "3"), (1, "3, 1", "1"), (0, "GPU-8f1c", "GPU-8f1c"), (0, "", "0")],
)
def test_the_device_is_found_as_cuda_numbers_it(device, index, visible, handle):
    assert Nvml(index, visible)._device == f"handle {handle}"


def test_no_nvml_is_told_and_not_raised(monkeypatch):
    assert (
        GpuWatch().state().problem.startswith("NVML does not know the device: NVML Shared Library Not Found")
    )
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(SensorProblem, match="pip install nvidia-ml-py"):
        Nvml(0, None)
    with GpuWatch() as watch:
        assert watch.joules(0, 1) is None
    assert watch.state().as_text() == "GPU: pynvml is not installed: pip install nvidia-ml-py"


@pytest.mark.parametrize("first", ["CUDAExecutionProvider", "TensorrtExecutionProvider", "TensorRT"])
def test_providers_on_a_gpu(first):
    assert on_gpu([first, "CPUExecutionProvider"])
    assert not on_gpu(["CPUExecutionProvider", first])


def test_a_report_of_a_gpu(device, tmp_path, monkeypatch):
    monkeypatch.setattr("msdk_rt.bench.measurement.on_gpu", lambda providers: True)
    report = msdk_rt.benchmark(
        write_artifact(tmp_path / "a.onnx"), seconds=0, warm_up=0, limit=0, shape=(9, 10, 11), threads=1
    )
    (contestant,) = report.contestants
    assert contestant.volume.gpu_joules == pytest.approx(250 * contestant.volume.seconds, rel=0.05, abs=0.1)
    assert "held down by power cap 100% of the time" in report.as_text()
    assert report.as_json()["gpu"]["clock_mhz"] == (1980, 1980, 1980)
    assert "NVIDIA Something (NVML)" in page(report)
    report.append_csv(tmp_path / "a.csv")
    assert ",1980" in (tmp_path / "a.csv").read_text()


def test_stages_of_any_name_are_shown_and_transfers_apart(tmp_path):
    report = msdk_rt.benchmark(
        write_artifact(tmp_path / "a.onnx"), seconds=0, warm_up=0, limit=0, volumes=0, threads=1
    )
    stages = {"upload": 0.5, "normalise": 0.1, "windows": 2.0, "blend": 0.3, "download": 0.25}
    report.contestants[0].volumes = [VolumeTime((9, 9, 9), 1, 0.0, 3.2, stages, None, "no meter", 640.0)]
    report.gpu = GpuState(problem="a reason")
    text = report.as_text()
    assert all(f"  {name}" in text for name in stages)
    assert "transfers to and from the GPU included, 2.45 s without" in text
    assert "energy: GPU 640 J, processor no meter" in text
    assert "GPU: a reason" in text
    (volume,) = report.as_json()["contestants"][0]["volumes"]
    assert volume["seconds_without_transfers"] == pytest.approx(2.45)
    assert all(f">{name}" in page(report) for name in stages)
    del stages["upload"], stages["download"]
    assert report.contestants[0].volume.without_transfers is None
