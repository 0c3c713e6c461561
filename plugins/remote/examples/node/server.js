// A partner's adapter service in Node: node server.js [127.0.0.1:50061] [folder of the protos]
// Loopback and plain text, for tests; a real one uses grpc.ServerCredentials.createSsl with client certificates.
"use strict";

const crypto = require("node:crypto");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const address = process.argv[2] || "127.0.0.1:50061";
const protos = process.argv[3] || path.join(__dirname, "..", "..", "..", "..", "protos");
const options = { keepCase: true, longs: String, enums: String, bytes: Buffer, defaults: false, oneofs: true, includeDirs: [protos] };
const types = protoLoader.loadSync("xinqiao/api/adapter/v1/adapter_service.proto", options);
const { Manifest, Receipt } = Object.fromEntries(
  ["Manifest", "Receipt"].map((name) => [name, types[`xinqiao.api.exchange.v1.${name}`]]),
);
const api = grpc.loadPackageDefinition(types).xinqiao.api;

const kept = new Map(); // request_id -> { digest, receipt }: one effect a request
const receipts = new Map(); // SHA-256 of a manifest -> SignedReceipt
const news = []; // what happened here, oldest first; a cursor is a position in it
const keys = crypto.generateKeyPairSync("ed25519");

const sha256 = (bytes) => crypto.createHash("sha256").update(bytes).digest();

function refuse(code, message) {
  return { code, message }; // never a value from the record
}

// The same record in every try: what changes between tries is left out.
function digestOf(request) {
  const { attempt, checkpoints, ...record } = request;
  return sha256(JSON.stringify(record)).toString("hex");
}

function check(call, callback) {
  callback(null, { peer: `node ${process.versions.node}` });
}

function deliver(call, callback) {
  const request = call.request;
  if (!request.body) return callback(refuse(grpc.status.INVALID_ARGUMENT, "this contract is not taken here"));
  const digest = digestOf(request);
  const known = kept.get(request.request_id);
  if (known && known.digest !== digest) {
    return callback(refuse(grpc.status.FAILED_PRECONDITION, "other content under this request_id"));
  }
  if (!known) {
    kept.set(request.request_id, { digest, receipt: `record/${kept.size + 1}` });
    if (request.body === "referral") {
      const referral = request.referral.referral.name;
      for (const event of ["REFERRAL_EVENT_RECEIVE", "REFERRAL_EVENT_ACCEPT"]) {
        const cursor = String(news.length + 1);
        news.push({ cursor, referral: { referral, event, source: `news/${cursor}` } });
      }
    }
  }
  callback(null, { receipt: kept.get(request.request_id).receipt });
}

function capacity(call, callback) {
  callback(null, {}); // not known
}

function read(call) {
  const from = Number(call.request.cursor || 0);
  if (!Number.isInteger(from) || from < 0) {
    return call.destroy(refuse(grpc.status.FAILED_PRECONDITION, "not a cursor of this service"));
  }
  for (const item of news.slice(from)) call.write(item);
  call.end();
}

function settle(call, callback) {
  const bytes = call.request.package.manifest;
  const digest = sha256(bytes);
  const name = digest.toString("hex");
  if (!receipts.has(name)) {
    const manifest = Manifest.deserialize(bytes);
    const receipt = Receipt.serialize({
      manifest_sha256: digest,
      accepted: manifest.items || 0,
      receive_time_us: String(BigInt(Date.now()) * 1000n),
      checkpoint: manifest.checkpoint,
      checkpoints: manifest.checkpoints,
    });
    receipts.set(name, { receipt, signature: crypto.sign(null, receipt, keys.privateKey) });
  }
  callback(null, { receipt: receipts.get(name) });
}

const server = new grpc.Server();
server.addService(api.adapter.v1.AdapterService.service, {
  Check: check, Deliver: deliver, Capacity: capacity, Read: read, Exchange: settle,
});
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) {
    console.error(`cannot listen at ${address}`);
    process.exit(1);
  }
  console.log(`serving at port ${port}`);
});
