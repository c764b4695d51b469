"""curl's configuration for uploading the files of a folder to a bucket, by signed addresses (AWS's
Signature Version 4 in the query): nothing is left to compute while they are uploaded."""

import datetime, hashlib, hmac, os, sys
from urllib.parse import quote, urlencode, urlsplit

folder, base, access, secret = sys.argv[1:]
host, now = urlsplit(base).netloc, datetime.datetime.now(datetime.timezone.utc)
time = now.strftime("%Y%m%dT%H%M%SZ")
scope = f"{time[:8]}/us-east-1/s3/aws4_request"
key = f"AWS4{secret}".encode()
for part in scope.split("/"):
    key = hmac.new(key, part.encode(), "sha256").digest()
query = urlencode({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": f"{access}/{scope}",
    "X-Amz-Date": time,
    "X-Amz-Expires": "3600",
    "X-Amz-SignedHeaders": "host",
})
for where, _, names in os.walk(folder):
    for name in names:
        path = os.path.join(where, name)
        url = f"{base}/{quote(os.path.relpath(path, folder))}"
        lines = ["PUT", urlsplit(url).path, query, f"host:{host}\n", "host", "UNSIGNED-PAYLOAD"]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", time, scope, digest])
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        print(f'upload-file = "{path}"\nurl = "{url}?{query}&X-Amz-Signature={signature}"')
