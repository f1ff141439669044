# CPU. Only a base image with Python and a package index are needed:
#   docker build -t recbole-conrec . && docker run --rm -v "$PWD/saved:/app/saved" recbole-conrec --model=SASRec
# An index of one's own: --build-arg PIP_INDEX_URL=https://...
FROM python:3.11-slim

ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /src
COPY . .
# The package index serves torch for CPUs alone on some platforms only; elsewhere its wheel brings CUDA and runs without.
RUN pip install -c constraints.txt . && rm -rf /src/build

WORKDIR /app
ENTRYPOINT ["recbole-conrec"]
CMD ["--help"]
