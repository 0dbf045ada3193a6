import { createRequire } from "node:module";
import hardhatEthers from "@nomicfoundation/hardhat-ethers";
import hardhatNetworkHelpers from "@nomicfoundation/hardhat-network-helpers";
import { defineConfig } from "hardhat/config";

const require = createRequire(import.meta.url);

/** The tests' attackers are built apart from what `npm start` and a deployment need; "check" is the latter once more. */
const build = process.env.BIJULI_CONTRACTS_BUILD ?? "release";
const withFixtures = build === "fixtures";

/**
 * Chainlink's Operator is pinned to this compiler. OpenZeppelin 4.9.6 and LinkToken, both taken unmodified, are built
 * with it too: it is of their time and has nothing to warn about in them.
 */
const ofItsTime = {
  version: "0.8.19",
  path: require.resolve("solc-0.8.19/soljson.js"),
  settings: { optimizer: { enabled: true, runs: 1_000_000 } },
};

export default defineConfig({
  plugins: [hardhatEthers, hardhatNetworkHelpers],
  paths: {
    sources: withFixtures ? ["test/fixtures"] : ["src"],
    artifacts: `artifacts/${build}`,
    cache: `cache/${build}`,
    tests: { solidity: "test/solidity" },
  },
  solidity: {
    compilers: [
      {
        // The compiler comes from npm, so nothing is downloaded. 0.8.28–0.8.33 are skipped for their via-IR bug.
        version: "0.8.34",
        path: require.resolve("solc/soljson.js"),
        // Attackers need not be cheap: compiled without IR they take a tenth of the time.
        settings: { optimizer: { enabled: true, runs: 800 }, viaIR: !withFixtures, evmVersion: "cancun" },
      },
      ofItsTime,
    ],
    overrides: {
      "src/EnergyToken.sol": ofItsTime,
      "@chainlink/contracts/src/v0.8/shared/token/ERC677/LinkToken.sol": ofItsTime,
    },
    npmFilesToBuild: withFixtures
      ? []
      : [
          "@chainlink/contracts/src/v0.8/operatorforwarder/Operator.sol",
          "@chainlink/contracts/src/v0.8/shared/token/ERC677/LinkToken.sol",
          "@openzeppelin/contracts/access/manager/AccessManager.sol",
        ],
  },
  networks: {
    default: { type: "edr-simulated", hardfork: "osaka", chainId: 31337, initialDate: "2026-01-01T00:00:00Z" },
  },
});
