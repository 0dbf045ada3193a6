/** A block's head as the RPC answers it. */
export interface RpcBlock {
  number: string;
  hash: string;
  parentHash: string;
  timestamp: string;
  baseFeePerGas?: string;
  gasLimit: string;
}

export interface Head {
  number: number;
  hash: string;
  parentHash: string;
  /** Unix seconds by the chain. */
  timestamp: bigint;
  baseFee: bigint;
}

export interface RpcLog {
  address: string;
  topics: string[];
  data: string;
  blockNumber: string;
  blockHash: string;
  transactionHash: string;
  logIndex: string;
  removed?: boolean;
}

export interface RpcReceipt {
  transactionHash: string;
  blockNumber: string;
  blockHash: string;
  status: string;
  gasUsed: string;
  effectiveGasPrice?: string;
  logs: RpcLog[];
}

export function headOf(block: RpcBlock): Head {
  return {
    number: Number(block.number),
    hash: block.hash,
    parentHash: block.parentHash,
    timestamp: BigInt(block.timestamp),
    baseFee: BigInt(block.baseFeePerGas ?? "0x0"),
  };
}
