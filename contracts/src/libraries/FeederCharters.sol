// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Account, CharterRef, Feeder, MarketState} from "../MarketState.sol";
import {IEnergyMarket, OracleSeat, PlantSeat, Role, Terms} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {IMeterRegistry} from "../interfaces/IMeterRegistry.sol";
import {AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {ClearingHeadLib} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {OracleSeats} from "./OracleSeats.sol";
import {Replacement} from "./Replacement.sol";

/// @title How a feeder's charter is changed
/// @notice A change makes a new charter that holds from a lot not yet begun on, in the order of the lots; one for the
/// same lot replaces the other. Clearings end where a charter does.
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library FeederCharters {
    /// @notice A change can be announced this many lots ahead at most, so that a far one cannot block nearer ones.
    uint256 internal constant MAX_LOTS_AHEAD = 8_928;
    uint256 internal constant MAX_LOTS = 2_016;
    /// @notice Plants times lots of one clearing: what the distributor's stage can price within EIP-7825's 2^24 gas.
    uint256 internal constant MAX_PLANT_LOTS = 76_000;
    uint256 internal constant MAX_OPERATORS = 8;
    uint256 private constant _MAX_PENALTY_BPS = 1_000_000;
    uint256 private constant _MAX_SECONDS = 366 days;
    uint256 private constant _PRICE_END = 2 ** 62;

    // ------------------------------------------------------------------------------------------ the market's functions

    function create(MarketState storage s, string calldata name) external returns (bytes32 feeder) {
        if (bytes(name).length == 0) revert IMarketErrors.EmptyName();
        feeder = keccak256(bytes(name));
        Feeder storage f = s.feeders[feeder];
        if (f.number != 0) revert IMarketErrors.FeederExists(feeder);
        uint24 number = ++s.feederCount;
        f.number = number;
        s.feederIds[number] = feeder;
        emit IEnergyMarket.FeederCreated(feeder, number, name);
    }

    function setCharter(
        MarketState storage s,
        IMeterRegistry registry,
        bytes32 feeder,
        uint64 fromLot,
        Terms calldata terms,
        uint32 distributor,
        PlantSeat[] calldata plants
    ) external {
        Charter.Draft memory draft = _edit(s, registry, feeder, fromLot);
        _checkTerms(terms);
        if (distributor == 0 && draft.distributor == 0) revert IMarketErrors.NotChartered(feeder);
        if (plants.length > Charter.MAX_PLANTS) {
            revert IMarketErrors.TooManyMembers(plants.length, Charter.MAX_PLANTS);
        }
        draft.terms = terms;
        _checkConsumerPrice(draft, 0, draft.consumers == 0 ? type(uint64).max : draft.consumerLimit);
        PlantSeat[] memory old = draft.plants;

        if (distributor != draft.distributor) {
            if (draft.distributor != 0) _unseat(s, draft.distributor, fromLot);
            draft.distributor = distributor;
            draft.distributorMeter = 0;
            if (distributor != 0) {
                draft.distributorMeter = _seat(s, draft, distributor, Role.Distributor);
            }
        }
        for (uint256 i = 0; i < old.length; ++i) {
            if (!_isAmong(plants, old[i].account)) _unseat(s, old[i].account, fromLot);
        }
        draft.plants = plants;
        draft.plantMeters = new bytes32[](plants.length);
        uint256 priceLimit = distributor == 0 ? 0 : s.accounts[distributor].priceLimit;
        for (uint256 i = 0; i < plants.length; ++i) {
            uint32 account = plants[i].account;
            uint256 price = plants[i].pricePerKWh;
            if (!_wasAmong(old, account)) {
                _seat(s, draft, account, Role.Plant);
            } else {
                for (uint256 j = 0; j < i; ++j) {
                    if (plants[j].account == account) revert IMarketErrors.AlreadyListed(account);
                }
            }
            draft.plantMeters[i] = s.accounts[account].meterId;
            if (price >= _PRICE_END) revert IMarketErrors.TermTooHigh("pricePerKWh", price, _PRICE_END - 1);
            if (price > priceLimit) revert IMarketErrors.PriceTooHigh(distributor, price, priceLimit);
            uint256 floor = s.accounts[account].priceLimit;
            if (price < floor) revert IMarketErrors.PriceTooLow(account, price, floor);
        }
        _save(s, draft);
    }

    function list(
        MarketState storage s,
        IMeterRegistry registry,
        bytes32 feeder,
        uint64 fromLot,
        uint32[] calldata added
    ) external {
        Charter.Draft memory draft = _edit(s, registry, feeder, fromLot);
        if (draft.distributor == 0) revert IMarketErrors.NotChartered(feeder);
        if (added.length == 0) revert IMarketErrors.ZeroAmount();
        uint256 before = draft.consumers;
        uint256 total = before + added.length;
        if (total > Charter.MAX_CONSUMERS) revert IMarketErrors.TooManyMembers(total, Charter.MAX_CONSUMERS);

        (bytes32[] memory meters, uint32[] memory accounts) = _extended(s, feeder, before, total);
        if (before == 0) draft.consumerLimit = type(uint64).max;
        for (uint256 i = 0; i < added.length; ++i) {
            uint32 account = added[i];
            accounts[before + i] = account;
            meters[before + i] = _seat(s, draft, account, Role.Consumer);
            uint64 limit = s.accounts[account].priceLimit;
            _checkConsumerPrice(draft, account, limit);
            if (limit < draft.consumerLimit) draft.consumerLimit = limit;
        }
        // only the chunk that was not full, and new ones, are written
        address[] memory chunks = new address[]((total + Charter.CHUNK - 1) / Charter.CHUNK);
        for (uint256 i = 0; i < chunks.length; ++i) {
            chunks[i] = i < before / Charter.CHUNK ? draft.chunks[i] : Charter.writeChunk(meters, accounts, i);
        }
        draft.chunks = chunks;
        draft.consumers = uint16(total);
        emit IEnergyMarket.ConsumersListed(feeder, fromLot, added);
        _save(s, draft);
    }

    function delist(
        MarketState storage s,
        IMeterRegistry registry,
        bytes32 feeder,
        uint64 fromLot,
        uint32[] memory removed
    ) public {
        Charter.Draft memory draft = _edit(s, registry, feeder, fromLot);
        if (draft.distributor == 0) revert IMarketErrors.NotChartered(feeder);
        if (removed.length == 0) revert IMarketErrors.ZeroAmount();
        uint256 total = draft.consumers;
        (bytes32[] memory meters, uint32[] memory accounts) = Charter.consumersAt(_newestCode(s, feeder), 0, total);
        bool[] memory dirty = new bool[](draft.chunks.length);
        bool lowest = false; // whether one goes whose price limit was the lowest
        for (uint256 i = 0; i < removed.length; ++i) {
            uint256 at = 0;
            while (at < total && accounts[at] != removed[i]) ++at;
            if (at == total) revert IMarketErrors.NotListed(removed[i]);
            _unseat(s, removed[i], fromLot);
            if (s.accounts[removed[i]].priceLimit == draft.consumerLimit && draft.consumerLimit != type(uint64).max) {
                lowest = true;
            }
            --total;
            (meters[at], accounts[at]) = (meters[total], accounts[total]);
            dirty[at / Charter.CHUNK] = true;
            dirty[total / Charter.CHUNK] = true;
        }
        assembly ("memory-safe") {
            mstore(meters, total)
            mstore(accounts, total)
        }
        if (lowest) draft.consumerLimit = _lowestLimit(s, accounts);
        address[] memory chunks = new address[]((total + Charter.CHUNK - 1) / Charter.CHUNK);
        for (uint256 i = 0; i < chunks.length; ++i) {
            chunks[i] = dirty[i] ? Charter.writeChunk(meters, accounts, i) : draft.chunks[i];
        }
        draft.chunks = chunks;
        draft.consumers = uint16(total);
        emit IEnergyMarket.ConsumersDelisted(feeder, fromLot, removed);
        _save(s, draft);
    }

    function _lowestLimit(MarketState storage s, uint32[] memory accounts) private view returns (uint64 limit) {
        limit = type(uint64).max;
        for (uint256 i = 0; i < accounts.length && limit != 0; ++i) {
            uint64 own = s.accounts[accounts[i]].priceLimit;
            if (own < limit) limit = own;
        }
    }

    /// @notice An account's own leaving, from the next lot on that no charter has claimed yet.
    function leave(MarketState storage s, IMeterRegistry registry, uint32 account) external {
        Account storage a = s.accounts[account];
        if (a.owner != msg.sender) revert IMarketErrors.NotOwner(account, msg.sender);
        if (a.firstLot == 0) revert IMarketErrors.NotListed(account);
        if (a.endLot != 0) revert IMarketErrors.HasLeft(account);
        bytes32 feeder = s.feederIds[a.feeder];
        uint64 fromLot = uint64(block.timestamp / registry.lotSeconds()) + 1;
        CharterRef storage ref = _newest(s, s.feeders[feeder]);
        if (fromLot < ref.fromLot) fromLot = ref.fromLot;
        (uint32 distributor, ) = Charter.distributor(CodeStore.read(ref.code));
        if (distributor == 0) {
            // the feeder has ended: nothing to rewrite
            fromLot = ref.fromLot;
            _unseat(s, account, fromLot);
        } else if (a.role == Role.Consumer) {
            uint32[] memory one = new uint32[](1);
            one[0] = account;
            delist(s, registry, feeder, fromLot, one);
        } else {
            Charter.Draft memory draft = _edit(s, registry, feeder, fromLot);
            _unseat(s, account, fromLot);
            if (a.role == Role.Distributor) (draft.distributor, draft.distributorMeter) = (0, 0);
            else _dropPlant(draft, account);
            _save(s, draft);
        }
        emit IEnergyMarket.Left(account, feeder, fromLot);
    }

    /// @notice Another meter takes the place of an account's, from `fromLot` on; see Replacement.
    function replaceMeter(
        MarketState storage s,
        IMeterRegistry registry,
        uint32 account,
        bytes32 meterId,
        uint64 fromLot
    ) external {
        Account storage a = s.accounts[account];
        if (a.owner == address(0)) revert IMarketErrors.UnknownAccount(account);
        if (a.firstLot == 0) revert IMarketErrors.NotListed(account);
        if (a.endLot != 0) revert IMarketErrors.HasLeft(account);
        // one that is only announced can still be put right
        if (a.word.has(AccountWordLib.REPLACED) && fromLot != a.replacedFrom) {
            revert IMarketErrors.ReplacementPending(account, a.replacedFrom);
        }
        bytes32 feeder = s.feederIds[a.feeder];
        Charter.Draft memory draft = _edit(s, registry, feeder, fromLot);
        _claimMeter(s, registry, meterId, account, fromLot);
        emit IEnergyMarket.MeterReplaced(account, a.meterId, meterId, fromLot);
        a.meterId = meterId;
        a.replacedFrom = uint40(fromLot);
        a.word = a.word.set(AccountWordLib.REPLACED);
        if (a.role == Role.Distributor) draft.distributorMeter = meterId;
        else if (a.role == Role.Plant) draft.plantMeters[_placeOf(draft.plants, account)] = meterId;
        else _replaceInList(s, draft, account, meterId);
        _save(s, draft);
    }

    function setOperators(MarketState storage s, bytes32 feeder, OracleSeat[] calldata operators) external {
        Feeder storage f = _known(s, feeder);
        if (operators.length > MAX_OPERATORS) {
            revert IMarketErrors.TooManyOperators(operators.length, MAX_OPERATORS);
        }
        for (uint256 i = 0; i < operators.length; ++i) {
            if (operators[i].operator.code.length == 0) revert IMarketErrors.ZeroAddress();
        }
        f.operators = operators.length == 0 ? address(0) : CodeStore.write(OracleSeats.pack(operators));
        emit IEnergyMarket.OperatorsSet(feeder, operators);
    }

    // ------------------------------------------------------------------------------------------ inside

    function _known(MarketState storage s, bytes32 feeder) private view returns (Feeder storage f) {
        f = s.feeders[feeder];
        if (f.number == 0) revert IMarketErrors.UnknownFeeder(feeder);
    }

    function _newest(MarketState storage s, Feeder storage f) private view returns (CharterRef storage) {
        return s.charters[(uint256(f.number) << 24) | (f.charters - 1)];
    }

    function _newestCode(MarketState storage s, bytes32 feeder) private view returns (bytes memory) {
        return CodeStore.read(_newest(s, s.feeders[feeder]).code);
    }

    /// @dev The newest charter as a draft, after checking that one may be made for `fromLot`.
    function _edit(
        MarketState storage s,
        IMeterRegistry registry,
        bytes32 feeder,
        uint64 fromLot
    ) private view returns (Charter.Draft memory draft) {
        Feeder storage f = _known(s, feeder);
        uint64 firstFree = uint64(block.timestamp / registry.lotSeconds()) + 1;
        if (fromLot < firstFree) revert IMarketErrors.LotBegun(fromLot, firstFree);
        if (fromLot > firstFree + MAX_LOTS_AHEAD) {
            revert IMarketErrors.TooFarAhead(fromLot, uint64(firstFree + MAX_LOTS_AHEAD));
        }
        if (f.charters != 0) {
            CharterRef storage newest = _newest(s, f);
            if (fromLot < newest.fromLot) revert IMarketErrors.OutOfOrder(fromLot, newest.fromLot);
            draft = Charter.draftOf(CodeStore.read(newest.code));
            if (draft.distributor == 0 && fromLot > newest.fromLot) {
                revert IMarketErrors.FeederEnded(feeder, newest.fromLot);
            }
        }
        (draft.feeder, draft.fromLot, draft.registry) = (feeder, fromLot, registry);
    }

    function _save(MarketState storage s, Charter.Draft memory draft) private {
        uint64 fromLot = draft.fromLot;
        Feeder storage f = s.feeders[draft.feeder];
        uint24 count = f.charters;
        if (count == 0) {
            f.openedLot = uint40(fromLot - 1);
            f.clearedLot = uint40(fromLot - 1);
        }
        if (count == 0 || _newest(s, f).fromLot != fromLot) {
            if (count == ClearingHeadLib.MAX_CHARTERS) revert IMarketErrors.TooManyCharters(draft.feeder, count);
            f.charters = ++count;
        }
        CharterRef storage ref = s.charters[(uint256(f.number) << 24) | (count - 1)];
        ref.code = Charter.write(draft);
        ref.fromLot = uint40(fromLot);
        emit IEnergyMarket.Chartered(
            draft.feeder,
            fromLot,
            count - 1,
            draft.terms,
            draft.distributor,
            draft.plants,
            draft.consumers
        );
    }

    function _seat(
        MarketState storage s,
        Charter.Draft memory draft,
        uint32 account,
        Role role
    ) private returns (bytes32 meterId) {
        (IMeterRegistry registry, uint64 fromLot) = (draft.registry, draft.fromLot);
        Account storage a = s.accounts[account];
        meterId = a.meterId;
        if (a.owner == address(0)) revert IMarketErrors.UnknownAccount(account);
        if (s.feederIds[a.feeder] != draft.feeder) revert IMarketErrors.WrongFeeder(account, draft.feeder);
        if (a.role != role) revert IMarketErrors.WrongRole(account, a.role);
        if (a.endLot != 0) revert IMarketErrors.HasLeft(account);
        if (a.firstLot != 0) revert IMarketErrors.AlreadyListed(account);
        _claimMeter(s, registry, meterId, account, fromLot);
        a.firstLot = uint40(fromLot);
        a.word = Replacement.seated(a.word, registry, meterId, fromLot);
    }

    /// @dev A meter is in one place at a time.
    function _claimMeter(
        MarketState storage s,
        IMeterRegistry registry,
        bytes32 meterId,
        uint32 account,
        uint64 fromLot
    ) private {
        if (!registry.isMeter(meterId)) revert IMarketErrors.UnknownMeter(meterId);
        uint32 other = s.seats[meterId];
        if (other != 0) {
            Account storage o = s.accounts[other];
            uint40 end = o.meterId == meterId ? o.endLot : o.replacedFrom;
            if (end == 0 || end > fromLot) revert IMarketErrors.MeterTaken(meterId, other);
        }
        s.seats[meterId] = account;
    }

    function _unseat(MarketState storage s, uint32 account, uint64 fromLot) private {
        s.accounts[account].endLot = uint40(fromLot);
    }

    /// @dev The list's last chunk, if it is not full, with room for more.
    function _extended(
        MarketState storage s,
        bytes32 feeder,
        uint256 before,
        uint256 total
    ) private view returns (bytes32[] memory meters, uint32[] memory accounts) {
        uint256 kept = (before / Charter.CHUNK) * Charter.CHUNK;
        (bytes32[] memory tailMeters, uint32[] memory tailAccounts) = Charter.consumersAt(
            _newestCode(s, feeder),
            kept,
            before - kept
        );
        meters = new bytes32[](total);
        accounts = new uint32[](total);
        for (uint256 i = kept; i < before; ++i) {
            (meters[i], accounts[i]) = (tailMeters[i - kept], tailAccounts[i - kept]);
        }
    }

    function _replaceInList(
        MarketState storage s,
        Charter.Draft memory draft,
        uint32 account,
        bytes32 meterId
    ) private {
        bytes memory charter = _newestCode(s, draft.feeder);
        (bytes32[] memory meters, uint32[] memory accounts) = Charter.consumersAt(charter, 0, draft.consumers);
        uint256 at = 0;
        while (accounts[at] != account) ++at;
        meters[at] = meterId;
        draft.chunks[at / Charter.CHUNK] = Charter.writeChunk(meters, accounts, at / Charter.CHUNK);
    }

    function _placeOf(PlantSeat[] memory plants, uint32 account) private pure returns (uint256 at) {
        while (plants[at].account != account) ++at;
    }

    function _dropPlant(Charter.Draft memory draft, uint32 account) private pure {
        uint256 last = draft.plants.length - 1;
        PlantSeat[] memory plants = new PlantSeat[](last);
        bytes32[] memory meters = new bytes32[](last);
        uint256 n = 0;
        for (uint256 i = 0; i <= last; ++i) {
            if (draft.plants[i].account == account) continue;
            plants[n] = draft.plants[i];
            meters[n++] = draft.plantMeters[i];
        }
        draft.plants = plants;
        draft.plantMeters = meters;
    }

    function _isAmong(PlantSeat[] calldata plants, uint32 account) private pure returns (bool) {
        for (uint256 i = 0; i < plants.length; ++i) if (plants[i].account == account) return true;
        return false;
    }

    function _wasAmong(PlantSeat[] memory plants, uint32 account) private pure returns (bool) {
        for (uint256 i = 0; i < plants.length; ++i) if (plants[i].account == account) return true;
        return false;
    }

    /// @dev The consumers' price can reach the cap, or 2^64 − 1 where there is none: that is what they consented to.
    function _checkConsumerPrice(Charter.Draft memory draft, uint32 account, uint64 limit) private pure {
        uint64 most = draft.terms.maxPricePerKWh == 0 ? type(uint64).max : draft.terms.maxPricePerKWh;
        if (most > limit) revert IMarketErrors.PriceTooHigh(account, most, limit);
    }

    function _checkTerms(Terms calldata t) private pure {
        _atMost("idealLossBps", t.idealLossBps, 10_000);
        _atMost("serviceBps", t.serviceBps, 10_000);
        _atMost("penaltyBps", t.penaltyBps, _MAX_PENALTY_BPS);
        _atMost("toleranceBps", t.toleranceBps, 10_000);
        _atMost("graceSeconds", t.graceSeconds, _MAX_SECONDS);
        _atMost("estimateSeconds", t.estimateSeconds, _MAX_SECONDS);
        _atMost("abandonSeconds", t.abandonSeconds, _MAX_SECONDS);
        _atMost("openDelay", t.openDelay, 30 days);
        _atMost("repeatSeconds", t.repeatSeconds, 30 days);
        _atMost("freeRepeats", t.freeRepeats, 16);
        _atMost("lotsPerClearing", t.lotsPerClearing, MAX_LOTS);
        if (t.lotsPerClearing == 0) revert IMarketErrors.TermTooLow("lotsPerClearing", 0, 1);
        if (t.repeatSeconds == 0) revert IMarketErrors.TermTooLow("repeatSeconds", 0, 1);
        if (t.abandonSeconds < t.estimateSeconds) {
            revert IMarketErrors.TermTooLow("abandonSeconds", t.abandonSeconds, t.estimateSeconds);
        }
    }

    function _atMost(string memory term, uint256 value, uint256 most) private pure {
        if (value > most) revert IMarketErrors.TermTooHigh(term, value, most);
    }
}
