// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ClearingHead, ClearingHeadLib} from "../../src/libraries/ClearingHead.sol";

/// @title A clearing's word, step by step, and all that can be read of it
contract ClearingHeadHarness {
    struct Fields {
        uint256 lots;
        uint256 charter;
        uint256 stage;
        uint256 openedAfter;
        bool estimated;
        uint256 requested;
        uint256 corrected;
        uint256 available;
        uint256 price;
        uint256 used;
        uint256 consumersDone;
    }

    /// @dev In the order in which a clearing comes by them; the consumers in two pages.
    function pack(Fields calldata f, uint256 usedFirst, uint256 doneFirst) external pure returns (Fields memory) {
        ClearingHead head = ClearingHeadLib.begun(f.lots, f.charter, 0, f.openedAfter).withRequested(1);
        head = head.withRequested(f.requested);
        if (f.estimated) head = head.withEstimate();
        head = head.withStage(1).withCorrected(f.corrected);
        head = head.withStage(2).withAvailable(f.available, f.price);
        head = head.withUsed(usedFirst, doneFirst).withUsed(f.used - usedFirst, f.consumersDone - doneFirst);
        head = head.withStage(f.stage);
        (uint256 available, uint256 used) = head.sums();
        return
            Fields(
                head.lots(),
                head.charter(),
                head.stage(),
                head.openedAfter(),
                head.estimated(),
                head.requested(),
                head.corrected(),
                available,
                f.lots == 1 ? head.price() : f.price,
                used,
                head.consumersDone()
            );
    }
}
