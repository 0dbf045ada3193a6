// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket} from "../interfaces/IEnergyMarket.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {Accounts} from "./Accounts.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {ClearingHead} from "./ClearingHead.sol";
import {ClearingMath} from "./ClearingMath.sol";
import {Deliveries, Delivery} from "./Deliveries.sol";
import {EnergyShelf} from "./EnergyShelf.sol";
import {LotPrices} from "./LotPrices.sol";
import {PriceList} from "./PriceList.sol";
import {SupplyReading} from "./SupplyReading.sol";

/// @title The distributor's stage once its energies are known: prices, losses, and what it owes the plants
/// @notice Energies in Units, money in wei, prices in wei per kWh.
library Settlement {
    using Charter for bytes;

    uint256 private constant _MAX_LANE = 2 ** 48 - 1;

    /// @dev Prices every lot, burns what was lost, and settles what the distributor owes the plants.
    /// @param received the distributor's energies, 6 bytes a lot; empty: none came, and it counts as sent · (1 − ideal)
    /// @return estimated what it was taken to have received, when none came
    function settle(
        MarketState storage s,
        Delivery memory d,
        bytes memory received
    ) internal returns (uint256 estimated) {
        (uint256[] memory flows, uint256[] memory totals) = _flows(s, d);
        bool silent = received.length == 0;
        if (silent) received = _idealReceipt(d, flows);
        uint256 sent;
        uint256 taken;
        uint256 available;
        (sent, taken, available) = _priceLots(d, flows, received);
        if (silent) estimated = taken;
        ClearingHead head = d.head.withStage(Progress.CONSUMERS).withAvailable(available, d.lots == 1 ? flows[0] : 0);
        Clearing storage c = Deliveries.clearing(s, d.number, d.lot);
        if (d.lots != 1) c.prices = PriceList.write(flows);
        c.head = head;
        s.feeders[d.feeder].clearedLot = uint40(d.lot);

        (uint32 account, bytes32 meterId) = d.charter.distributor();
        emit IEnergyMarket.DistributorCleared(d.feeder, meterId, uint64(d.lot), sent, taken, available);
        if (sent != available) {
            Deliveries.burn(d.token, meterId, (sent - available));
        }
        _payPlants(s, d, account, totals);
        if (d.charter.consumers() == 0) c.head = Deliveries.close(d.token, d.feeder, d.lot, head, meterId, 0);
    }

    /// @dev Per lot: Σ energy in the low 64 bits, Σ energy · price above; per plant: Σ energy.
    function _flows(
        MarketState storage s,
        Delivery memory d
    ) private view returns (uint256[] memory flows, uint256[] memory totals) {
        uint256 plants = d.charter.plants();
        uint256 lots = d.lots;
        flows = LotPrices.empty(lots);
        totals = new uint256[](plants);
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 p = 0; p < plants; ++p) {
            (uint256 width, uint256 from) = EnergyShelf.get(s.shelves[(d.number << 8) | p], lots);
            (, , uint256 price) = d.charter.plantAt(p);
            totals[p] = LotPrices.addPlant(flows, from, width, price);
            // the next plant's energies take the place of these: 64 plants' of a week would make memory dear
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
        LotPrices.join(flows);
    }

    function _idealReceipt(Delivery memory d, uint256[] memory flows) private pure returns (bytes memory received) {
        received = new bytes(6 * d.lots);
        uint256 kept = ClearingMath.BPS - d.charter.tariff().idealLossBps;
        for (uint256 i = 0; i < d.lots; ++i) {
            uint256 e = (uint64(flows[i]) * kept) / ClearingMath.BPS;
            SupplyReading.putLane(received, i, e > _MAX_LANE ? _MAX_LANE : e);
        }
    }

    /// @dev Turns the flows into prices, in place.
    function _priceLots(
        Delivery memory d,
        uint256[] memory flows,
        bytes memory received
    ) private pure returns (uint256 sent, uint256 taken, uint256 available) {
        return
            LotPrices.pricesDown(flows, received, d.charter.tariff(), d.head.estimated() ? d.lots : d.head.corrected());
    }

    /// @dev The distributor owes each plant; what it cannot pay becomes arrears, shared pro rata.
    function _payPlants(MarketState storage s, Delivery memory d, uint32 distributor, uint256[] memory totals) private {
        uint256[] memory dues = new uint256[](totals.length);
        uint256 due = 0;
        for (uint256 p = 0; p < totals.length; ++p) {
            (bytes32 meterId, uint32 plant, uint256 price) = d.charter.plantAt(p);
            AccountWord word = s.accounts[plant].word;
            uint256 rest;
            (dues[p], rest) = ClearingMath.moneyDown(totals[p] * price, word.remainder());
            s.accounts[plant].word = word.withRemainder(rest);
            due += dues[p];
            emit IEnergyMarket.PlantPaid(d.feeder, meterId, uint64(d.lot), dues[p]);
        }
        AccountWord payer = s.accounts[distributor].word;
        uint256 balance = payer.balance();
        bool short = balance < due;
        if (!short) {
            payer = payer.withBalance(balance - due);
            payer = Deliveries.watchReserve(distributor, payer, d.charter.reserve());
            s.accounts[distributor].word = payer;
        }
        for (uint256 p = 0; p < totals.length; ++p) {
            (, uint32 plant, ) = d.charter.plantAt(p);
            if (short) Accounts.owe(s, distributor, plant, dues[p]);
            else Accounts.credit(s, plant, dues[p]);
        }
        if (!short) return;
        payer = Deliveries.watchReserve(distributor, payer.withBalance(0), d.charter.reserve());
        s.accounts[distributor].word = payer.set(AccountWordLib.ARREARS);
        Accounts.credit(s, distributor, balance);
        for (uint256 p = 0; p < totals.length; ++p) {
            (, uint32 plant, ) = d.charter.plantAt(p);
            Accounts.collect(s, distributor, plant);
        }
    }
}
