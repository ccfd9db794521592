{# The outcomes by which copies are compared: what the rate is of (its trials), and what the catalogue says of it if the
   owner's file says nothing. #}
{% macro compared_metrics() -%}
    {{ return([
        {'metric': 'delivered', 'counts_as': 'delivered', 'trials': 'sent', 'good_when': 'up', 'maturity_days': 3},
        {'metric': 'opened', 'counts_as': 'opened', 'trials': 'reached', 'good_when': 'up', 'maturity_days': 3},
        {'metric': 'human_opened', 'counts_as': 'opened', 'trials': 'reached', 'good_when': 'up', 'maturity_days': 3},
        {'metric': 'clicked', 'counts_as': 'clicked', 'trials': 'reached', 'good_when': 'up', 'maturity_days': 3},
        {'metric': 'human_clicked', 'counts_as': 'clicked', 'trials': 'reached', 'good_when': 'up', 'maturity_days': 3},
        {'metric': 'converted', 'counts_as': 'converted', 'trials': 'reached', 'good_when': 'up', 'maturity_days': 7},
        {'metric': 'unsubscribed', 'counts_as': 'unsubscribed', 'trials': 'reached', 'good_when': 'down', 'maturity_days': 7},
    ]) }}
{%- endmacro %}


{# What happened to a unit, as bits of one number. #}
{% macro unit_outcomes() -%}
    {{ return([
        'sent', 'reached', 'delivered', 'opened', 'human_opened', 'clicked', 'human_clicked', 'converted', 'unsubscribed',
    ]) }}
{%- endmacro %}


{# The bits of one event of fct_engagement_events that counts; a bitwise OR over a unit's events gives its outcomes. One
   aggregate of a number costs a fraction of nine of booleans. #}
{% macro outcome_bits(events='') -%}
    {%- set bit = {} -%}
    {%- for outcome in unit_outcomes() -%}
        {%- do bit.update({outcome: 2 ** loop.index0}) -%}
    {%- endfor -%}
    case when {{ events }}is_first_reached then {{ bit['reached'] }} else 0 end
            + case {{ events }}counts_as
                when 'sent' then {{ bit['sent'] }}
                when 'delivered' then {{ bit['delivered'] }}
                when 'opened'
                    then {{ bit['opened'] }} + case when {{ events }}is_machine then 0 else {{ bit['human_opened'] }} end
                when 'clicked'
                    then {{ bit['clicked'] }} + case when {{ events }}is_machine then 0 else {{ bit['human_clicked'] }} end
                when 'converted' then {{ bit['converted'] }}
                when 'unsubscribed' then {{ bit['unsubscribed'] }}
                else 0
            end
{%- endmacro %}


{# Whether a unit has an outcome. #}
{% macro has_outcome(outcomes, outcome) -%}
    {{ bit_and(outcomes, 2 ** unit_outcomes().index(outcome)) }} > 0
{%- endmacro %}


{# Counts over units: all, trials, and per compared metric the successes in trials and outside of them. #}
{% macro unit_counts(outcomes) -%}
    cast(count(*) as {{ dbt.type_bigint() }}) as units,
        {%- for trial in ['sent', 'reached'] %}
        cast(count(case when {{ has_outcome(outcomes, trial) }} then 1 end) as {{ dbt.type_bigint() }}) as {{ trial }},
        {%- endfor %}
        {%- for compared in compared_metrics() %}
        {%- set succeeded, tried = has_outcome(outcomes, compared.metric), has_outcome(outcomes, compared.trials) %}
        cast(
            count(case when {{ succeeded }} and {{ tried }} then 1 end) as {{ dbt.type_bigint() }}
        ) as {{ compared.metric }},
        cast(
            count(case when {{ succeeded }} and not {{ tried }} then 1 end) as {{ dbt.type_bigint() }}
        ) as {{ compared.metric }}_outside_trials{{ ',' if not loop.last }}
        {%- endfor %}
{%- endmacro %}


{# The metric that is compared where the owner names this one: with the var prefer_human, opens and clicks by people.
   Null where it is none of the compared ones. #}
{% macro compared_metric(metric) -%}
    case
            {%- if var('prefer_human') %}
            when {{ metric }} in ('opened', 'clicked') then 'human_' || {{ metric }}
            {%- endif %}
            when {{ metric }} in ('{{ compared_metrics() | map(attribute='metric') | join("', '") }}') then {{ metric }}
        end
{%- endmacro %}


{# A person as a number of 60 bits that is the same on both engines, spread evenly, so that a sample of persons is those
   below a bound. A unit without user_id is a person of its own. #}
{% macro person_key(user_id, unit_key) -%}
    {{ adapter.dispatch('hash_of_60_bits')("coalesce('u' || " ~ user_id ~ ", 'd' || " ~ unit_key ~ ")") }}
{%- endmacro %}

{% macro duckdb__hash_of_60_bits(text) -%}
    cast('0x' || right(md5({{ text }}), 15) as bigint)
{%- endmacro %}

{% macro snowflake__hash_of_60_bits(text) -%}
    cast(mod(md5_number_lower64({{ text }}), 1152921504606846976) as bigint)
{%- endmacro %}


{# Whether a unit is a trial of the metric that a column names. #}
{% macro is_trial(outcomes, metric) -%}
    case {{ metric }}
            {%- for compared in compared_metrics() %}
            when '{{ compared.metric }}' then {{ has_outcome(outcomes, compared.trials) }}
            {%- endfor %}
        end
{%- endmacro %}


{# Whether the metric that a column names is among a unit's outcomes. #}
{% macro is_success(outcomes, metric) -%}
    case {{ metric }}
            {%- for compared in compared_metrics() %}
            when '{{ compared.metric }}' then {{ has_outcome(outcomes, compared.metric) }}
            {%- endfor %}
        end
{%- endmacro %}
