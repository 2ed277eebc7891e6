from evaluators.runtimes.onnx_runtime import ONNX_RUNTIME
from evaluators.runtimes.runtime import Runtime
from tests.contracts import RuntimeContract


class TestOnnxRuntime(RuntimeContract):
    def make(self) -> Runtime:
        return ONNX_RUNTIME
