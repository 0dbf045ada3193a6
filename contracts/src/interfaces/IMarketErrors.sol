// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Role, Stage} from "./IEnergyMarket.sol";

/// @title Why the market refuses a call; each names the value
interface IMarketErrors {
    error UnknownFeeder(bytes32 feeder);
    error FeederExists(bytes32 feeder);
    error EmptyName();
    error UnknownClearing(bytes32 feeder, uint64 lot);
    error UnknownAccount(uint32 account);
    error UnknownMeter(bytes32 meterId);
    error NotOwner(uint32 account, address caller);
    error NotToken(address caller);
    error ZeroAddress();
    error ZeroAmount();
    error WrongMarket(address contractAddress);

    // openings
    error OpeningsArePaused(bytes32 feeder);
    error FeederEnded(bytes32 feeder, uint64 lot);
    error NotChartered(bytes32 feeder);
    error NothingToOpen(bytes32 feeder, uint64 lot);
    error TooFewLots(uint64 lots, uint64 least);
    error TooManyLots(uint64 lots, uint64 most);
    error LotBeyondCharter(uint64 lot, uint64 last);
    error LotNotOver(uint64 lot, uint64 notBefore);
    error LinkTooLow(bytes32 feeder, uint256 balance, uint256 payment);
    error NoOperator(bytes32 feeder);
    error NotYetRequested(bytes32 feeder, uint64 lot, Stage stage, uint16 first);
    error RepeatTooEarly(bytes32 feeder, uint64 lot, uint256 notBefore);
    error NothingToRequest(bytes32 feeder, uint64 lot, Stage stage, uint16 first);
    error PageMisaligned(uint16 first, uint256 pageSize);
    error PageOutOfRange(uint16 first, uint256 members);
    error TakingLinkBack();
    error RequestsUnderWay();

    // charters
    error LotBegun(uint64 lot, uint64 firstFree);
    error OutOfOrder(uint64 fromLot, uint64 newest);
    error TooFarAhead(uint64 fromLot, uint64 latest);
    error TermTooHigh(string term, uint256 value, uint256 most);
    error TermTooLow(string term, uint256 value, uint256 least);
    error TooManyMembers(uint256 count, uint256 most);
    error TooManyOperators(uint256 count, uint256 most);
    error PriceTooHigh(uint32 account, uint256 price, uint256 limit);
    error PriceTooLow(uint32 account, uint256 price, uint256 limit);
    error WrongRole(uint32 account, Role role);
    error WrongFeeder(uint32 account, bytes32 feeder);
    error MeterTaken(bytes32 meterId, uint32 account);
    error HasLeft(uint32 account);
    error NotListed(uint32 account);
    error AlreadyListed(uint32 account);

    // money
    error BalanceTooLow(uint32 account, uint256 balance, uint256 amount);
    error ReserveKept(uint32 account, uint256 free, uint256 amount);
    error BalanceTooHigh(uint32 account);
    error EtherNotTaken(address to, uint256 amount);
    error ConsentExpired(uint256 deadline);
    error ConsentUsed(bytes32 digest);
    error BadConsent(address owner);

    // silence
    error TooEarly(uint64 lot, uint256 notBefore);
    error NotInTurn(bytes32 feeder, uint64 lot);
    error WrongStage(bytes32 feeder, uint64 lot, uint8 progress);
    error AlreadyCleared(bytes32 feeder, bytes32 meterId, uint64 lot);
    error EstimateAboveCapacity(bytes32 meterId, uint256 capacity);
    error BadEstimate(uint256 length, uint256 expected);
}
