{# What the data allow to say of an arm beside control: the first that applies. It reads the columns of a comparison.
   People are those of all days; on the days that count there are no more of them than trials. #}
{% macro verdict() -%}
    case
            when arm_type = 'control' then 'control'
            when key_metric is null then 'no_key_metric'
            when control_trials is null then 'no_control'
            when is_split_broken then 'split_broken'
            when
                least(verdict_trials, verdict_control_trials) < min_sends
                or least(verdict_trials, verdict_control_trials, people, control_people) < 200
                then 'too_few_sends'
            when verdict_log_ratio is null then 'no_outcome_yet'
            when coalesce(p_value_anytime_holm, 1) > 0.05 then 'no_difference_yet'
            when (verdict_log_ratio > 0) = (good_when = 'up') then 'better'
            else 'worse'
        end
{%- endmacro %}


{# The verdict in words, for people who read one line. #}
{% macro verdict_sentence(subject, arms='') -%}
    {%- set lift -%}
        {{ metric_words(arms ~ 'metric') }} || ' ' || {{ percent(arms ~ 'verdict_lift') }} || coalesce(
                ' (95 % interval, valid at every look: ' || {{ percent(arms ~ 'lift_low_anytime') }} || ' to '
                || {{ percent(arms ~ 'lift_high_anytime') }} || ')', ''
            )
    {%- endset -%}
    case {{ arms }}verdict
            when 'control' then 'This is the control.'
            when 'no_key_metric' then 'No verdict: the settings of the template name no key metric that is compared.'
            when 'no_control' then 'No verdict: there is no control to compare with.'
            when 'split_broken'
                then 'No verdict: the traffic was not split as planned, so the arms may differ in more than the copy.'
            when 'too_few_sends'
                then 'No verdict yet: on the days that count, {{ subject }} has '
                    || cast({{ arms }}verdict_trials as {{ dbt.type_string() }}) || ' trials and control '
                    || cast({{ arms }}verdict_control_trials as {{ dbt.type_string() }}) || '; each needs '
                    || cast({{ arms }}min_sends as {{ dbt.type_string() }}) || ' trials and 200 people. Over all days, {{ subject }} reached '
                    || cast({{ arms }}people as {{ dbt.type_string() }}) || ' people and control '
                    || cast({{ arms }}control_people as {{ dbt.type_string() }}) || '.'
            when 'no_outcome_yet'
                then 'No verdict yet: on the days that count, one of the arms has no outcome (' || {{ metric_words(arms ~ 'metric') }}
                    || ').'
            when 'better' then 'Better than control: ' || {{ lift }} || '.'
            when 'worse' then 'Worse than control: ' || {{ lift }} || '.'
            when 'no_difference_yet' then 'No difference from control seen yet: ' || {{ lift }} || '.'
        end
{%- endmacro %}


{% macro metric_words(metric) -%}
    case
                when {{ metric }} like 'human%' then replace({{ metric }}, 'human_', '') || ' by people' else {{ metric }}
            end
{%- endmacro %}


{# A share as signed per cent with one decimal place: +12.3 %. #}
{% macro percent(share) -%}
    case when {{ share }} >= 0 then '+' else '' end
            || cast(cast(100 * {{ share }} as decimal(18, 1)) as {{ dbt.type_string() }}) || ' %'
{%- endmacro %}


{# Why there is no lift; null where there is one, and for the control. #}
{% macro no_lift_reason() -%}
    case
            when arm_type = 'control' or lift is not null then null
            when not has_control then 'no_control'
            when shared_days = 0 then 'no_day_with_both_arms'
            else 'no_outcome_in_an_arm'
        end
{%- endmacro %}
