"""What the server answers about its models, over gRPC and REST alike."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from control_plane.devserver import wire
from control_plane.devserver.live import LiveMachine
from control_plane.devserver.machine import Machine
from control_plane.devserver.monitoring import Metrics
from control_plane.devserver.refusal import Code, Refusal
from control_plane.devserver.saved_model import Servable
from control_plane.domain.signature import Signatures
from control_plane.serving import stubs
from control_plane.serving.signatures import signatures_of

SIGNATURES = "signature_def"  # the only field of metadata that exists


class Answers:
    """Finds the version that a request means, and asks it."""

    def __init__(self, live: LiveMachine, metrics: Metrics) -> None:
        self._live = live
        self._metrics = metrics

    def status(self, spec: Any) -> Any:
        """Give the states of one version, or of all; a label is not looked at.

        Raises:
            Refusal: nothing was ever known of it.
        """
        name, version, _ = wire.asked_for(spec)
        return wire.status_response(self._live.act(lambda machine: machine.status(name, version)))

    def predict(self, request: Any) -> Any:
        """Answer a PredictRequest.

        Raises:
            Refusal: no such version or signature, or the computation fails.
        """
        spec = wire.spec_of(request)
        with self._serving(spec) as (version, servable), self._metrics.running(spec.name):
            signature, outputs = servable.predict(request)
        response = stubs.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature
        for name, tensor in outputs.items():
            response.outputs[name].CopyFrom(tensor)
        return response

    def metadata(self, spec: Any, fields: Iterable[str]) -> Any:
        """Give a version's signatures.

        Raises:
            Refusal: no such version, or other fields are asked for.
        """
        _check_fields(list(fields))
        with self._serving(spec) as (version, servable):
            signatures = stubs.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response = stubs.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.metadata[SIGNATURES].Pack(signatures)
        return response

    def signatures(self, spec: Any) -> Signatures:
        """Give the signatures by which JSON is read.

        Raises:
            Refusal: no such version.
        """
        with self._serving(spec) as (_, servable):
            return signatures_of(servable.signatures)

    @contextmanager
    def _serving(self, spec: Any) -> Iterator[tuple[int, Servable]]:
        """Hold the version that a request resolved to, whatever is loaded meanwhile."""
        asked = wire.asked_for(spec)

        def entered(machine: Machine) -> tuple[int, Any, int]:
            version = machine.resolve(*asked)
            return version, machine.servable(spec.name, version), machine.enter()

        version, servable, ticket = self._live.act(entered)
        try:
            yield version, servable
        finally:
            self._live.act(lambda machine: machine.leave(ticket))


def unimplemented(request: Any) -> NoReturn:  # noqa: ARG001
    """Refuse what only the real server does.

    Raises:
        Refusal: always.
    """
    raise Refusal(Code.UNIMPLEMENTED, "The dev server does not serve this method.")


def _check_fields(fields: list[str]) -> None:
    if not fields:
        message = "GetModelMetadataRequest must specify at least one metadata_field"
        raise Refusal(Code.INVALID_ARGUMENT, message)
    for field in fields:
        if field != SIGNATURES:
            message = f"Metadata field {field} is not supported"
            raise Refusal(Code.INVALID_ARGUMENT, message)
