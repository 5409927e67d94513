%% Copyright (c) beamops contributors
%% GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
%% SPDX-License-Identifier: GPL-3.0-or-later
%%
%% The second opinion on terms: Erlang's own term_to_binary and binary_to_term, asked by _reference.py. Compiled by the
%% OTP that is asked. Requests and replies are packets on two pipes, many terms in each, every part after its length.
%%
%% Standard: ERTS User's Guide, chapter "External Term Format"; the reference manual of the module erlang.

-module(reference).
-export([main/0]).

main() ->
    [Requests, Replies] = [list_to_integer(Word) || Word <- init:get_plain_arguments()],
    try
        Port = open_port({fd, Requests, Replies}, [binary, {packet, 4}, eof]),
        put(port, Port),
        serve(Port, [])
    catch
        Class:Reason:Stack ->
            io:format("~0p~n", [{Class, Reason, Stack}]),
            halt(1, [{flush, true}])
    end.

%% Made: the terms of the last reply to `make`.
serve(Port, Made) ->
    receive
        {Port, {data, <<"make", Seed:64, Count:32>>}} ->
            _ = rand:seed(exsss, Seed),
            Terms = [term(rand:uniform(4) + deep(), 6) || _ <- lists:seq(1, Count)],
            port_command(Port, [[part(term_to_binary(Term, options())), part(text(Term))] || Term <- Terms]),
            serve(Port, Terms);
        {Port, {data, <<"same", Parts/binary>>}} ->
            Same = lists:zipwith(fun(Part, Term) -> same(Part, Term) end, parts(Parts), Made),
            port_command(Port, Same),
            serve(Port, Made);
        {Port, {data, <<"read", Parts/binary>>}} ->
            port_command(Port, [read(Part) || Part <- parts(Parts)]),
            serve(Port, Made);
        {Port, {data, <<"hash", Parts/binary>>}} ->
            %% As gen_digest in dist_util.erl, which is not exported.
            port_command(Port, [erlang:md5([Cookie | integer_to_list(Challenge)])
                                || <<Challenge:32, Cookie/binary>> <- parts(Parts)]),
            serve(Port, Made);
        {Port, {data, <<"size">>}} ->
            port_command(Port, <<(erlang:system_info(atom_count)):32>>),
            serve(Port, Made);
        {Port, eof} ->
            halt()
    end.

part(Data) ->
    [<<(iolist_size(Data)):32>>, Data].

parts(<<Size:32, Part:Size/binary, Rest/binary>>) ->
    [Part | parts(Rest)];
parts(<<>>) ->
    [].

same(Encoded, Term) ->
    try binary_to_term(Encoded) of
        Term -> $+;
        _Other -> $-
    catch
        error:_ -> $!
    end.

%% How many bytes were used, what the term is, and how this node would send it; three empty parts if it is refused.
read(Encoded) ->
    try binary_to_term(Encoded, [used]) of
        {Term, Used} -> [part(<<Used:32>>), part(text(Term)), part(term_to_binary(Term))]
    catch
        error:_ -> [part([]), part([]), part([])]
    end.

%% A term in words that both sides can make of what they have, and that two terms share only if they are the same.

text(Term) when is_atom(Term) -> [$a, sized(atom_to_binary(Term, utf8))];
text(Term) when is_integer(Term), abs(Term) < 1 bsl 31 -> [$i, integer_to_binary(Term)];
text(Term) when is_integer(Term), Term < 0 -> [$-, sized(binary:encode_unsigned(-Term))];
text(Term) when is_integer(Term) -> [$+, sized(binary:encode_unsigned(Term))];
text(Term) when is_float(Term) -> [$f, <<Term/float>>];
text(Term) when is_binary(Term) -> [$b, sized(Term)];
text(Term) when is_bitstring(Term) ->
    Bits = bit_size(Term) rem 8,
    [$B, $0 + Bits, sized(<<Term/bitstring, 0:(8 - Bits)>>)];
text(Term) when is_tuple(Term) -> [${, [[text(Part), $,] || Part <- tuple_to_list(Term)], $}];
text(Term) when is_list(Term) -> [$[, list(Term), $]];
text(Term) when is_map(Term) ->
    Pairs = [iolist_to_binary([text(Key), $>, text(Value)]) || {Key, Value} <- maps:to_list(Term)],
    [$#, ${, [[Pair, $,] || Pair <- lists:sort(Pairs)], $}];
text(Term) when is_function(Term) ->
    Of = fun(Item) -> element(2, erlang:fun_info(Term, Item)) end,
    case Of(type) of
        external -> [$e, text({Of(module), Of(name), Of(arity)})];
        local ->
            %% Without the pid, which OTP 27 and newer do not keep, and the indexes: of a fun that it knows, a VM has its own.
            Items = [Of(Item) || Item <- [module, arity, new_uniq, env]],
            [$l, text(list_to_tuple(Items))]
    end;
%% Nothing else says which node and creation these have. The forms are those of OTP 23 and newer.
text(Term) when is_pid(Term) ->
    <<131, Tag, Rest/binary>> = term_to_binary(Term),
    Width = case Tag of 88 -> 32; 103 -> 8 end,
    {Node, <<Id:32, Serial:32, Creation:Width>>} = node_of(Rest),
    [$p, Node, numbers([Id, Serial, Creation])];
text(Term) when is_port(Term) ->
    <<131, Tag, Rest/binary>> = term_to_binary(Term),
    {IdWidth, Width} = case Tag of 120 -> {64, 32}; 89 -> {32, 32}; 102 -> {32, 8} end,
    {Node, <<Id:IdWidth, Creation:Width>>} = node_of(Rest),
    [$o, Node, numbers([Id, Creation])];
text(Term) when is_reference(Term) ->
    <<131, Tag, _Count:16, Rest/binary>> = term_to_binary(Term),
    Width = case Tag of 90 -> 32; 114 -> 8 end,
    {Node, <<Creation:Width, Words/binary>>} = node_of(Rest),
    [$r, Node, numbers([Creation | [Word || <<Word:32>> <= Words]])].

list([]) -> [];
list([Head | Tail]) when is_list(Tail) -> [text(Head), $, | list(Tail)];
list([Head | Tail]) -> [text(Head), $|, text(Tail)].

node_of(<<119, Size, Name:Size/binary, Rest/binary>>) -> {sized(Name), Rest};
node_of(<<118, Size:16, Name:Size/binary, Rest/binary>>) -> {sized(Name), Rest};
node_of(<<115, Size, Name:Size/binary, Rest/binary>>) -> {sized(unicode:characters_to_binary(Name, latin1)), Rest};
node_of(<<100, Size:16, Name:Size/binary, Rest/binary>>) -> {sized(unicode:characters_to_binary(Name, latin1)), Rest}.

numbers(Numbers) ->
    [[$., integer_to_binary(Number)] || Number <- Numbers].

sized(Data) ->
    [integer_to_binary(byte_size(Data)), $:, Data].

%% Any term. Depth: how many levels below this one. Width: how many parts a term has at most.

deep() ->
    case rand:uniform(500) of 1 -> 80; 2 -> 55; _ -> 0 end.

term(0, _Width) -> leaf(rand:uniform(14));
term(Depth, Width) ->
    case rand:uniform(9) of
        1 -> list_to_tuple(terms(Depth, Width));
        2 -> terms(Depth, Width);
        3 -> terms(Depth, 2) ++ leaf(rand:uniform(14));
        4 -> maps:from_list([{term(Depth - 1, 1), term(Depth - 1, 2)} || _ <- some(Width)]);
        5 -> closure(rand:uniform(3), term(Depth - 1, 2), leaf(rand:uniform(14)));
        6 when Width > 3 -> long(rand:uniform(300));
        _ when Depth > 10 -> {term(Depth - 1, 1)};
        _ -> leaf(rand:uniform(14))
    end.

%% Only one of the parts is as deep, or there would be too many.
terms(Depth, Width) when Depth > 10 -> [term(Depth - 1, 1) | [leaf(rand:uniform(14)) || _ <- some(Width div 2)]];
terms(Depth, Width) -> [term(Depth - 1, max(1, Width div 2)) || _ <- some(Width)].

some(Most) ->
    lists:seq(1, rand:uniform(Most + 1) - 1).

%% Terms whose number of parts takes more than a byte.
long(1) -> list_to_tuple([leaf(3) || _ <- lists:seq(1, 250 + rand:uniform(20))]);
long(2) -> [rand:uniform(256) - 1 || _ <- lists:seq(1, 65500 + rand:uniform(100))];
long(3) -> maps:from_list([{N, leaf(3)} || N <- lists:seq(1, 30 + rand:uniform(10))]);
long(4) -> [rand:uniform(300) - 1 || _ <- lists:seq(1, 200 + rand:uniform(200))];
long(5) -> big(1000 + rand:uniform(60));
long(6) -> binary:copy(<<"ab">>, 1000);
long(_) -> leaf(rand:uniform(14)).

leaf(1) -> [];
leaf(2) -> rand:uniform(256) - 1;
leaf(3) -> element(rand:uniform(6), {-1, 255, 256, -2147483648, 2147483647, 2147483648});
leaf(4) -> big(rand:uniform(12));
leaf(5) -> big(case rand:uniform(20) of 1 -> 300; _ -> 20 end);
leaf(6) -> float();
leaf(7) -> name();
leaf(8) -> crypto_free(rand:uniform(20) - 1);
leaf(9) ->
    Bits = rand:uniform(40),
    <<(rand:uniform(1 bsl Bits) - 1):Bits>>;
leaf(10) -> [rand:uniform(256) - 1 || _ <- some(10)];
leaf(11) -> case rand:uniform(3) of 1 -> self(); 2 -> whereis(init); 3 -> foreign(pid) end;
leaf(12) -> case rand:uniform(2) of 1 -> get(port); 2 -> foreign(port) end;
leaf(13) -> case rand:uniform(2) of 1 -> make_ref(); 2 -> foreign(reference) end;
leaf(14) -> fun erlang:is_map/1.

big(Bytes) ->
    Magnitude = binary:decode_unsigned(crypto_free(Bytes)),
    case rand:uniform(2) of 1 -> Magnitude; 2 -> -Magnitude end.

%% The module crypto need not be there.
crypto_free(Bytes) ->
    << <<(rand:uniform(256) - 1)>> || _ <- lists:seq(1, Bytes) >>.

float() ->
    <<Bits:64>> = crypto_free(8),
    case <<Bits:64>> of
        <<Float/float>> -> element(rand:uniform(3), {Float, 0.5, -1.0e300});
        _Infinite -> 1.0e-300
    end.

%% There are few names, since an atom stays for ever.
name() ->
    case rand:uniform(6) of
        1 -> '';
        2 -> binary_to_atom(binary:copy(<<"x">>, 250 + rand:uniform(5)), latin1);
        3 -> list_to_atom([16#e9, $a + rand:uniform(20)]);
        4 -> binary_to_atom(unicode:characters_to_binary([16#3b1 + rand:uniform(20), 16#1f600]), utf8);
        5 -> binary_to_atom(unicode:characters_to_binary(lists:duplicate(60 + rand:uniform(195), 16#20ac)), utf8);
        6 -> list_to_atom([$a + rand:uniform(20), $', 10])
    end.

%% Of another node, in the newest form that this release sends.
foreign(Kind) ->
    Name = <<"vic@web", ($0 + rand:uniform(9))>>,
    Node = <<119, (byte_size(Name)), Name/binary>>,
    Number = rand:uniform(1 bsl 15) - 1,
    Creation = element(rand:uniform(3), {1, 4, 16#89abcdef}),
    binary_to_term(iolist_to_binary([131, case Kind of
        pid -> [88, Node, <<Number:32, (rand:uniform(100)):32, Creation:32>>];
        port -> [89, Node, <<Number:32, Creation:32>>];
        reference ->
            Words = crypto_free(4 * (rand:uniform(3) - 1)),
            [90, <<(byte_size(Words) div 4 + 1):16>>, Node, <<Creation:32, Number:32>>, Words]
    end])).

closure(1, Free, _Other) -> fun() -> Free end;
closure(2, Free, Other) -> fun(Given) -> {Free, Other, Given} end;
closure(3, _Free, _Other) -> fun(One, Two) -> {One, Two} end.

%% Not `local`: the VM of OTP 27 ends with "buffer overflow" in external.c when a term with an external fun is sent so.
options() ->
    case rand:uniform(12) of
        1 -> [{minor_version, 0}];
        2 -> [{minor_version, 2}];
        3 -> [compressed];
        4 -> [{minor_version, 1}, {compressed, 9}];
        5 -> deterministic(list_to_integer(erlang:system_info(otp_release)));
        _ -> [{minor_version, 1}]
    end.

deterministic(Release) when Release > 24 -> [deterministic];
deterministic(_Older) -> [].
