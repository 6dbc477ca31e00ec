"""An S3 store on this machine: moto's server, which a test can make fail for chosen keys."""

import contextlib
import os
import threading

import boto3
import requests
import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "cohort"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Quiet(WSGIRequestHandler):
    def log_request(self, code="-", size="-"):
        """Nothing: the tests look at `seen`."""


class ObjectStore:
    """fails: {(method, end of the key): HTTP status that is answered}. seen: requests, (method, path).

    before: called with method and path of each request.
    """

    def __init__(self):
        self.fails, self.seen, self.before = {}, [], lambda method, path: None
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __call__(self, environ, start):
        """WSGI: the fault that is set for a request, else moto's answer."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.seen.append((method, path))
        self.before(method, path)
        for (failing, end), status in list(self.fails.items()):
            if method == failing and path.endswith(end):
                start(f"{status} refused by the test", [("Content-Length", "0")])
                return [b""]
        return self._app(environ, start)

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )

    def put(self, folder, prefix):
        """Upload every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client().upload_file(str(path), BUCKET, key)

    def keys(self, prefix=""):
        listed = self.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {entry["Key"]: entry["LastModified"] for entry in listed}

    def read(self, key):
        return self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def object_store():
    """A store with one empty bucket, in the environment of this process and of those that it starts."""
    store = ObjectStore()
    before = {name: os.environ.get(name) for name in store.environment}
    os.environ.update(store.environment)
    s3fs.S3FileSystem.clear_instance_cache()  # those of a store before this one
    try:
        requests.post(f"{store.endpoint}/moto-api/reset", timeout=60)  # buckets are those of the process
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        store.close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
