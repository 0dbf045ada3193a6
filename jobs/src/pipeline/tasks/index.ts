import type { TaskType } from "../task.ts";
import * as arithmetic from "./arithmetic.ts";
import { bridge } from "./bridge.ts";
import { cborParse } from "./cborparse.ts";
import { ethAbiDecode, ethAbiDecodeLog, ethAbiEncode, ethAbiEncode2 } from "./ethabi.ts";
import { ethCall } from "./ethcall.ts";
import { ethTx } from "./ethtx.ts";
import { http } from "./http.ts";
import { jsonParse } from "./jsonparse.ts";
import * as texts from "./text.ts";

/** Every task type that a spec may use, by the name that Chainlink gave it. */
export const taskTypes: Readonly<Record<string, TaskType>> = {
  any: arithmetic.any,
  base64decode: texts.base64Decode,
  base64encode: texts.base64Encode,
  bridge,
  cborparse: cborParse,
  conditional: texts.conditional,
  divide: arithmetic.divide,
  ethabidecode: ethAbiDecode,
  ethabidecodelog: ethAbiDecodeLog,
  ethabiencode: ethAbiEncode,
  ethabiencode2: ethAbiEncode2,
  ethcall: ethCall,
  ethtx: ethTx,
  fail: texts.fail,
  hexdecode: texts.hexDecode,
  hexencode: texts.hexEncode,
  http,
  jsonparse: jsonParse,
  length: arithmetic.length,
  lessthan: arithmetic.lessThan,
  lookup: texts.lookup,
  lowercase: texts.lowercase,
  mean: arithmetic.mean,
  median: arithmetic.median,
  memo: texts.memo,
  merge: texts.merge,
  mode: arithmetic.mode,
  multiply: arithmetic.multiply,
  sum: arithmetic.sum,
  uppercase: texts.uppercase,
};
