# Images for adapter, node, page, reader and a development chain: `docker build --target adapter .` and so on; docker-compose.yml
# builds them. linux/amd64 and linux/arm64. Each image holds one part, what it imports and what these depend on, and runs as an
# ordinary user. Node is the version that package.json brings along.
ARG NODE=24.21.0-bookworm-slim

FROM node:${NODE} AS base
WORKDIR /app
# npm wants every workspace that the lock file names to be there; the empty package stands in for what nothing here imports.
COPY package.json package-lock.json .npmrc ./
COPY scripts/empty scripts/empty
COPY adapter/package.json adapter/
COPY contracts/package.json contracts/
COPY dashboard/package.json dashboard/
COPY jobs/package.json jobs/
COPY pi-reader/package.json pi-reader/
COPY protocol/package.json protocol/

FROM base AS adapter-build
RUN npm ci --omit=dev --workspace=@bijuli/adapter && npm cache clean --force
COPY protocol protocol
COPY contracts/abi contracts/abi
COPY adapter/src adapter/src

FROM base AS node-build
RUN npm ci --omit=dev --workspace=@bijuli/jobs && npm cache clean --force
COPY protocol protocol
COPY contracts/abi contracts/abi
COPY jobs/src jobs/src
COPY jobs/specs jobs/specs

FROM base AS dashboard-build
RUN npm ci --omit=dev --workspace=@bijuli/dashboard && npm cache clean --force
COPY protocol protocol
COPY contracts/abi contracts/abi
COPY dashboard dashboard

# Its I2C addon is compiled, so this one has a compiler while it is built.
FROM base AS reader-build
RUN apt-get update && apt-get install -y --no-install-recommends python3 make g++ && rm -rf /var/lib/apt/lists/*
RUN npm_config_nodedir=/usr/local npm ci --omit=dev --workspace=@bijuli/pi-reader && npm cache clean --force
COPY protocol protocol
COPY pi-reader/src pi-reader/src

# All of it: a development chain, and the whole network of `npm start`.
FROM base AS demo-build
RUN apt-get update && apt-get install -y --no-install-recommends python3 make g++ && rm -rf /var/lib/apt/lists/*
RUN npm_config_nodedir=/usr/local npm ci && npm cache clean --force
COPY . .

FROM node:${NODE} AS runtime
ENV NODE_ENV=production NODE_COMPILE_CACHE=/var/lib/bijuli/compile-cache MALLOC_ARENA_MAX=1
RUN install -d -o node -g node /var/lib/bijuli
WORKDIR /app
VOLUME /var/lib/bijuli

FROM runtime AS adapter
COPY --from=adapter-build /app /app
USER node
ENV EA_HOST=0.0.0.0 EA_PORT=8080 DATA_DIR=/var/lib/bijuli/adapter
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.EA_PORT+'/health').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# A small nursery and one worker thread: a third less memory, at no cost in speed (adapter/README.md).
CMD ["node", "--max-semi-space-size=4", "--v8-pool-size=1", "adapter/src/cli.ts"]

FROM runtime AS node
COPY --from=node-build /app /app
USER node
ENV NODE_HOST=0.0.0.0 NODE_PORT=6688 DATA_DIR=/var/lib/bijuli/node JOBS_DIR=/app/jobs/specs
EXPOSE 6688
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.NODE_PORT+'/health').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "jobs/src/cli.ts", "start"]

FROM runtime AS dashboard
COPY --from=dashboard-build /app /app
USER node
ENV DASHBOARD_HOST=0.0.0.0 DASHBOARD_PORT=8090 DATA_DIR=/var/lib/bijuli/dashboard
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.DASHBOARD_PORT+'/health').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["node", "dashboard/src/server/main.ts"]

FROM runtime AS reader
COPY --from=reader-build /app /app
USER node
ENV READER_HOST=0.0.0.0 READER_PORT=8420 READER_STORE=/var/lib/bijuli/meter.db
EXPOSE 8420
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.READER_PORT+'/health').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["node", "pi-reader/src/cli.ts", "serve"]

# A development chain that keeps its state: anvil where it has a binary, Hardhat's (which keeps none) elsewhere.
FROM runtime AS chain
COPY --from=demo-build /app /app
USER node
EXPOSE 8545
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:8545',{method:'POST',headers:{'content-type':'application/json'},body:'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\",\"params\":[]}'}).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["sh", "-c", "if [ -e node_modules/.bin/anvil ]; then exec node_modules/.bin/anvil --host 0.0.0.0 --block-time 1 --state /var/lib/bijuli/chain.json --state-interval 2 --silent; else exec node scripts/start/hardhat-chain.ts 0.0.0.0 8545 $(date +%s) 60000000; fi"]

# The network of `npm start` in one container, with the machine's own network: the page listens on 127.0.0.1 only.
FROM runtime AS demo
COPY --from=demo-build --chown=node:node /app /app
USER node
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s CMD ["node", "-e", "fetch('http://127.0.0.1:8080/').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["node_modules/.bin/node", "scripts/start.ts", "--dir", "/var/lib/bijuli/demo"]
